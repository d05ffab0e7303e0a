-- What works with loaded ranges after they are loaded, level-triggered: it looks up what it has not applied yet.
CREATE TABLE IF NOT EXISTS OPS.APPLIED_RANGES (
  CONSUMER VARCHAR(64) NOT NULL COMMENT 'DAG that has applied the range',
  STREAM VARCHAR(128) NOT NULL,
  TOPIC_ID VARCHAR(64) NOT NULL,
  PARTITION_ID NUMBER(10,0) NOT NULL,
  START_OFFSET NUMBER(38,0) NOT NULL,
  END_OFFSET NUMBER(38,0) NOT NULL,
  LOADED_AT TIMESTAMP_TZ(6) COMMENT 'as the ledger said when the range was applied',
  REPLAY_ID VARCHAR(64) COMMENT 'likewise: a replay opens the range again'
) COMMENT = 'Loaded offset ranges that DAGs have worked with';

CREATE OR REPLACE VIEW OPS.PENDING_RANGES COMMENT = 'Loaded ranges not applied yet, by consumer; those that failed their gate wait' AS
WITH wanted AS (
  SELECT CONSUMER, STREAM
  FROM (VALUES
    ('recommendations', 'clicks'), ('recommendations', 'searches'), ('recommendations', 'transactions'),
    ('marts', 'transactions'), ('marts', 'system_logs'), ('marts', 'fraud_alerts')
  ) AS v (CONSUMER, STREAM)
)
SELECT
  w.CONSUMER, s.STREAM, s.TOPIC_ID, s.PARTITION_ID, s.START_OFFSET, s.END_OFFSET, s.LOADED_AT, s.REPLAY_ID, s.MIN_EVENT_TIME
FROM OPS.SLICES AS s
JOIN wanted AS w ON w.STREAM = s.STREAM
LEFT JOIN OPS.APPLIED_RANGES AS a
  ON a.CONSUMER = w.CONSUMER AND a.STREAM = s.STREAM AND a.TOPIC_ID = s.TOPIC_ID AND a.PARTITION_ID = s.PARTITION_ID
  AND a.START_OFFSET = s.START_OFFSET AND a.END_OFFSET = s.END_OFFSET
  AND a.LOADED_AT = s.LOADED_AT AND COALESCE(a.REPLAY_ID, '') = COALESCE(s.REPLAY_ID, '')
WHERE s.STATE = 'loaded' AND COALESCE(s.GATE, 'pass') <> 'fail' AND a.CONSUMER IS NULL;

-- The batch at hand of each consumer; one task at a time fills it and works on it.
CREATE TABLE IF NOT EXISTS OPS.BATCH_RANGES (
  CONSUMER VARCHAR(64) NOT NULL,
  STREAM VARCHAR(128) NOT NULL,
  TOPIC_ID VARCHAR(64) NOT NULL,
  PARTITION_ID NUMBER(10,0) NOT NULL,
  START_OFFSET NUMBER(38,0) NOT NULL,
  END_OFFSET NUMBER(38,0) NOT NULL,
  LOADED_AT TIMESTAMP_TZ(6),
  REPLAY_ID VARCHAR(64),
  MIN_EVENT_TIME TIMESTAMP_TZ(6)
) COMMENT = 'Ranges of the batches at hand';
