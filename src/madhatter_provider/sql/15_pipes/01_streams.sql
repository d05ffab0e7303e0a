-- per contract: its pipe. Files are named by the landing tasks (insertFiles); nothing is listed, so no AUTO_INGEST.
CREATE PIPE IF NOT EXISTS RAW.{{ table }}_PIPE AUTO_INGEST = FALSE COMMENT = 'Landing files of stream {{ stream }}' AS
COPY INTO RAW.{{ table }}
  FROM @RAW.LANDING
  FILE_FORMAT = (FORMAT_NAME = 'RAW.PARQUET')
  MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE
  ON_ERROR = SKIP_FILE;
