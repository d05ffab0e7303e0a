"""Dashboards as files: what they show of which mart. The control room draws them, Looker Studio's reports are
built after them.
"""
