CREATE OR REPLACE VIEW MARTS.DATA_QUALITY (
  STREAM COMMENT 'name of the stream',
  HOUR COMMENT 'in which the ranges were loaded, UTC',
  ROWS_LOADED COMMENT 'rows',
  ROWS_QUARANTINED COMMENT 'rows',
  QUARANTINED_PERCENT COMMENT 'of loaded and quarantined rows',
  GATES_PASSED COMMENT 'gates (fast and deep) of ranges that passed, or passed with warnings',
  GATES_FAILED COMMENT 'gates (fast and deep) of ranges that failed'
) COMMENT = 'Rows, quarantine and gates by stream and hour' AS
SELECT
  STREAM,
  DATE_TRUNC('hour', LOADED_AT),
  SUM(COALESCE(ROWS_LOADED, 0)),
  SUM(COALESCE(ROWS_QUARANTINED, 0)),
  100.0 * SUM(COALESCE(ROWS_QUARANTINED, 0)) / NULLIF(SUM(COALESCE(ROWS_LOADED, 0) + COALESCE(ROWS_QUARANTINED, 0)), 0),
  COUNT_IF(GATE IN ('pass', 'warn')) + COUNT_IF(DEEP_GATE IN ('pass', 'warn')),
  COUNT_IF(GATE = 'fail') + COUNT_IF(DEEP_GATE = 'fail')
FROM OPS.SLICES
WHERE LOADED_AT IS NOT NULL
GROUP BY STREAM, DATE_TRUNC('hour', LOADED_AT);
