-- Where landing files are. In the cloud 90_cloud_only/03_storage_integration.sql must have run before.
CREATE FILE FORMAT IF NOT EXISTS {{ database }}.RAW.PARQUET
  TYPE = PARQUET USE_LOGICAL_TYPE = TRUE BINARY_AS_TEXT = FALSE;
CREATE STAGE IF NOT EXISTS {{ database }}.RAW.LANDING
  URL = {{ landing_url }} {{ storage_integration }} FILE_FORMAT = (FORMAT_NAME = 'RAW.PARQUET');
