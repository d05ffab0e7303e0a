"""The control room: pages that this package adds to the Airflow UI.

``plugin`` is what Airflow imports, in every process, and therefore imports nothing; ``app`` is made at the
first request.
"""
