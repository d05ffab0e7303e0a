"""A Snowflake for one laptop: fakesnow on DuckDB files behind Snowflake's own protocols.

``python -m madhatter_provider.local.snowflake --help`` starts it. Clients need nothing special: the stock
connector, SnowflakeHook, SQLAlchemy and Great Expectations speak to it over TLS with a key pair, the SQL API
v2 and the Snowpipe REST API answer like the real ones. What it lacks is listed in ``docs/how-to/local-
snowflake.md``.
"""
