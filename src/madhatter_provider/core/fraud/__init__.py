"""Fraud rules, the alerts they raise, the cases people decide."""
