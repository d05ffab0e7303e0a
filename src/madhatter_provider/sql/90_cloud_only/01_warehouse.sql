-- Run by an account administrator, before `madhatter sql apply`. Never run locally.
USE ROLE SYSADMIN;
CREATE WAREHOUSE IF NOT EXISTS MADHATTER
  WAREHOUSE_SIZE = XSMALL
  AUTO_SUSPEND = 60
  AUTO_RESUME = TRUE
  INITIALLY_SUSPENDED = TRUE
  STATEMENT_TIMEOUT_IN_SECONDS = 600
  COMMENT = 'Ledger, gates and marts. Snowpipe loads without a warehouse.';
