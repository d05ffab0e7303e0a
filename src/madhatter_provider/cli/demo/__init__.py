"""``madhatter demo``: the whole platform once, from start to a verdict.

``command`` the options; ``flow`` what happens in which order; ``airflow_api`` talks to Airflow; ``measure``
reads what happened from the broker, Snowflake, the function and the labels; ``verdict`` turns it into the
summary and its failures; ``report`` shows it.
"""
