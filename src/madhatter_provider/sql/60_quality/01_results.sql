-- One row per expectation, stream and round of the deep gate.
CREATE TABLE IF NOT EXISTS OPS.QUALITY_RESULTS (
  ROUND_ID VARCHAR(256) NOT NULL COMMENT 'run_id of the DAG run that checked',
  STREAM VARCHAR(128) NOT NULL COMMENT 'name of the stream',
  CONTRACT_VERSION VARCHAR(32) NOT NULL COMMENT 'version of the contract',
  EXPECTATION_ID VARCHAR(256) NOT NULL COMMENT 'expectation, one per stream',
  EXPECTATION VARCHAR(256) NOT NULL COMMENT 'what is expected, by its type',
  COLUMN_NAME VARCHAR(1024) COMMENT 'column, or columns; empty: the table',
  SEVERITY VARCHAR(16) NOT NULL COMMENT 'critical or warning',
  SUCCESS BOOLEAN NOT NULL COMMENT 'whether it was met',
  OBSERVED VARCHAR(1024) COMMENT 'what was seen',
  ROWS_CHECKED NUMBER(38,0) COMMENT 'rows',
  ROWS_UNEXPECTED NUMBER(38,0) COMMENT 'rows that did not meet it',
  RANGES NUMBER(10,0) COMMENT 'offset ranges of this round',
  DAG_ID VARCHAR(256) COMMENT 'DAG that checked',
  REPORT VARCHAR(1024) COMMENT 'where the HTML page is',
  CHECKED_AT TIMESTAMP_TZ(6) NOT NULL COMMENT 'when that was'
) COMMENT = 'Results of the deep gate';

CREATE OR REPLACE VIEW MARTS.QUALITY_LATEST (
  ROUND_ID COMMENT 'run_id of the DAG run that checked',
  STREAM COMMENT 'name of the stream',
  CONTRACT_VERSION COMMENT 'version of the contract',
  EXPECTATION_ID COMMENT 'expectation, one per stream',
  EXPECTATION COMMENT 'what is expected, by its type',
  COLUMN_NAME COMMENT 'column, or columns; empty: the table',
  SEVERITY COMMENT 'critical, warning',
  SUCCESS COMMENT 'whether it was met',
  OBSERVED COMMENT 'what was seen',
  ROWS_CHECKED COMMENT 'rows',
  ROWS_UNEXPECTED COMMENT 'rows that did not meet it',
  RANGES COMMENT 'offset ranges of the round',
  DAG_ID COMMENT 'DAG that checked',
  REPORT COMMENT 'where the HTML page is',
  CHECKED_AT COMMENT 'when that was'
) COMMENT = 'Newest result of every expectation' AS
SELECT
  ROUND_ID, STREAM, CONTRACT_VERSION, EXPECTATION_ID, EXPECTATION, COLUMN_NAME, SEVERITY, SUCCESS, OBSERVED, ROWS_CHECKED,
  ROWS_UNEXPECTED, RANGES, DAG_ID, REPORT, CHECKED_AT
FROM OPS.QUALITY_RESULTS
QUALIFY ROW_NUMBER() OVER (PARTITION BY STREAM, EXPECTATION_ID ORDER BY CHECKED_AT DESC) = 1;
