-- How the pipeline itself fares, from the ledger and from the ends of the topics. By Snowflake's clock.
CREATE OR REPLACE VIEW OPS.WAITING_MESSAGES (
  STREAM COMMENT 'name of the stream',
  UNCLAIMED COMMENT 'messages that no run has claimed',
  UNCLAIMED_SINCE COMMENT 'when the first of them was seen in the topic',
  NOT_LOADED COMMENT 'messages that are not in their table or in quarantine',
  NOT_LOADED_SINCE COMMENT 'when the first of them was seen in the topic',
  SEEN_AT COMMENT 'when Kafka last told the ends of the topic'
) COMMENT = 'What waits in the topics, by stream' AS
WITH ends AS (
  SELECT *
  FROM OPS.TOPIC_ENDS
  QUALIFY MAX(LAST_SEEN_AT) OVER (PARTITION BY STREAM, TOPIC_ID) = MAX(LAST_SEEN_AT) OVER (PARTITION BY STREAM)
),
reached AS (
  SELECT
    STREAM, TOPIC_ID, PARTITION_ID,
    MAX(END_OFFSET) AS CLAIMED,
    MAX(IFF(STATE IN ('loaded', 'lost'), END_OFFSET, 0)) AS LOADED
  FROM OPS.SLICES
  GROUP BY STREAM, TOPIC_ID, PARTITION_ID
),
partitions AS (
  SELECT
    e.STREAM, e.PARTITION_ID,
    GREATEST(MAX(e.END_OFFSET) - COALESCE(MAX(r.CLAIMED), 0), 0) AS UNCLAIMED,
    MIN(IFF(e.END_OFFSET > COALESCE(r.CLAIMED, 0), e.FIRST_SEEN_AT, NULL)) AS UNCLAIMED_SINCE,
    GREATEST(MAX(e.END_OFFSET) - COALESCE(MAX(r.LOADED), 0), 0) AS NOT_LOADED,
    MIN(IFF(e.END_OFFSET > COALESCE(r.LOADED, 0), e.FIRST_SEEN_AT, NULL)) AS NOT_LOADED_SINCE,
    MAX(e.LAST_SEEN_AT) AS SEEN_AT
  FROM ends AS e
  LEFT JOIN reached AS r
    ON r.STREAM = e.STREAM AND r.TOPIC_ID = e.TOPIC_ID AND r.PARTITION_ID = e.PARTITION_ID
  GROUP BY e.STREAM, e.PARTITION_ID
)
SELECT
  STREAM, SUM(UNCLAIMED)::INTEGER, MIN(UNCLAIMED_SINCE), SUM(NOT_LOADED)::INTEGER, MIN(NOT_LOADED_SINCE), MAX(SEEN_AT)
FROM partitions
GROUP BY STREAM;

CREATE OR REPLACE VIEW OPS.LEDGER_MEASUREMENTS (
  CHECK_NAME COMMENT 'name in OPS.CHECKS',
  SUBJECT COMMENT 'stream',
  AS_OF COMMENT 'now, by Snowflake''s clock',
  MEASURED COMMENT 'measurement in the unit of the check; higher is worse',
  DETAIL COMMENT 'in words'
) COMMENT = 'Measurements of the ledger: unfinished_slices, ledger_gaps, ledger_overlaps, lost_ranges, quarantine_rate, failed_gates' AS
WITH s AS (
  SELECT
    MAX(IFF(NAME = 'streams.window_seconds', VALUE, NULL)) AS WINDOW_SECONDS,
    MAX(IFF(NAME = 'streams.min_rows', VALUE, NULL)) AS LEAST_ROWS
  FROM OPS.SETTING_VALUES
),
ranges AS (
  SELECT
    l.*,
    MAX(l.END_OFFSET) OVER (
      PARTITION BY l.STREAM, l.TOPIC_ID, l.PARTITION_ID ORDER BY l.START_OFFSET, l.END_OFFSET
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS PREVIOUS_END,
    MAX(IFF(l.STATE = 'lost', NULL, l.END_OFFSET)) OVER (
      PARTITION BY l.STREAM, l.TOPIC_ID, l.PARTITION_ID ORDER BY l.START_OFFSET, l.END_OFFSET
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS PREVIOUS_KEPT_END,
    l.LOADED_AT > DATEADD('second', -s.WINDOW_SECONDS, CURRENT_TIMESTAMP()) AS RECENT
  FROM OPS.SLICES AS l
  CROSS JOIN s
),
streams AS (
  SELECT
    STREAM,
    COUNT_IF(STATE IN ('claimed', 'landed')) AS UNFINISHED,
    MIN(IFF(STATE IN ('claimed', 'landed'), CLAIMED_AT, NULL)) AS UNFINISHED_SINCE,
    SUM(GREATEST(START_OFFSET - COALESCE(PREVIOUS_END, START_OFFSET), 0)) AS GAP_OFFSETS,
    COUNT_IF(STATE <> 'lost' AND START_OFFSET < PREVIOUS_KEPT_END) AS OVERLAPPING,
    COUNT_IF(STATE = 'lost' AND ACKNOWLEDGED_AT IS NULL) AS LOST,
    SUM(IFF(RECENT, COALESCE(ROWS_LOADED, 0) + COALESCE(ROWS_QUARANTINED, 0), 0)) AS RECENT_ROWS,
    SUM(IFF(RECENT, COALESCE(ROWS_QUARANTINED, 0), 0)) AS RECENT_QUARANTINED,
    COUNT_IF(RECENT AND (GATE = 'fail' OR DEEP_GATE = 'fail')) AS FAILED_GATES
  FROM ranges
  GROUP BY STREAM
)
SELECT
  'unfinished_slices', STREAM, CURRENT_TIMESTAMP(),
  COALESCE(DATEDIFF('second', UNFINISHED_SINCE, CURRENT_TIMESTAMP()), 0),
  UNFINISHED || ' ranges are claimed and not loaded'
FROM streams
UNION ALL
SELECT 'ledger_gaps', STREAM, CURRENT_TIMESTAMP(), GAP_OFFSETS, GAP_OFFSETS || ' offsets between claimed ranges are in no range'
FROM streams
UNION ALL
SELECT 'ledger_overlaps', STREAM, CURRENT_TIMESTAMP(), OVERLAPPING, OVERLAPPING || ' ranges begin before an earlier one ends'
FROM streams
UNION ALL
SELECT 'lost_ranges', STREAM, CURRENT_TIMESTAMP(), LOST, LOST || ' lost ranges that nobody has acknowledged'
FROM streams
UNION ALL
SELECT
  'quarantine_rate', t.STREAM, CURRENT_TIMESTAMP(),
  CASE
    WHEN t.RECENT_ROWS >= s.LEAST_ROWS THEN 100.0 * t.RECENT_QUARANTINED / t.RECENT_ROWS
    WHEN t.RECENT_ROWS = 0 THEN 0
  END,
  t.RECENT_QUARANTINED || ' of ' || t.RECENT_ROWS || ' rows were quarantined lately'
FROM streams AS t
CROSS JOIN s
UNION ALL
SELECT 'failed_gates', STREAM, CURRENT_TIMESTAMP(), FAILED_GATES, FAILED_GATES || ' ranges failed a gate lately'
FROM streams;

CREATE OR REPLACE VIEW OPS.PLATFORM_MEASUREMENTS (
  CHECK_NAME COMMENT 'name in OPS.CHECKS',
  SUBJECT COMMENT 'stream, job, or all',
  AS_OF COMMENT 'now, by Snowflake''s clock',
  MEASURED COMMENT 'measurement in the unit of the check; higher is worse',
  OBSERVED COMMENT 'what was seen, in its own unit, where the measurement is a ratio',
  EXPECTED COMMENT 'what was expected, in the same unit',
  CATEGORY COMMENT 'of what is not measured any more: kind of subject',
  LOCATION COMMENT 'of what is not measured any more: where it is',
  DETAIL COMMENT 'in words'
) COMMENT = 'Measurements of the pipeline, for DAG platform_health' AS
WITH fresh AS (
  SELECT
    w.STREAM, w.NOT_LOADED,
    COALESCE(DATEDIFF('second', w.NOT_LOADED_SINCE, w.SEEN_AT), 0) AS WAITED,
    GREATEST(COALESCE(o.VALUE, v.VALUE), 1) AS ALLOWED
  FROM OPS.WAITING_MESSAGES AS w
  JOIN OPS.SETTING_VALUES AS v ON v.NAME = 'streams.freshness_seconds'
  LEFT JOIN OPS.SETTING_VALUES AS o ON o.NAME = v.NAME || '.' || w.STREAM
),
job AS (
  SELECT
    MAX(IFF(STREAM = 'transactions', MAX_EVENT_TIME, NULL)) AS NEWEST_PAYMENT,
    MIN(IFF(STREAM = 'transactions', MIN_EVENT_TIME, NULL)) AS FIRST_PAYMENT,
    MAX(IFF(STREAM = 'stream_metrics', MAX_EVENT_TIME, NULL)) AS NEWEST_AGGREGATE
  FROM OPS.SLICES
  WHERE STATE = 'loaded'
),
told AS (
  SELECT w.JOB, GREATEST(DATEDIFF('second', w.WATERMARK, w.SEEN_AT), 0) AS BEHIND
  FROM OPS.JOB_WATERMARKS AS w
  JOIN OPS.SETTING_VALUES AS v ON v.NAME = 'jobs.known_seconds'
  WHERE w.SEEN_AT > DATEADD('second', -v.VALUE, CURRENT_TIMESTAMP())
),
outbox AS (SELECT COUNT(*) AS UNSENT, MIN(RECORDED_AT) AS SINCE FROM OPS.HEALTH_CHANGES WHERE SENT_AT IS NULL),
measured AS (
  SELECT
    'slice_lag' AS CHECK_NAME, STREAM AS SUBJECT,
    COALESCE(DATEDIFF('second', UNCLAIMED_SINCE, SEEN_AT), 0) AS MEASURED,
    NULL::FLOAT AS OBSERVED, NULL::FLOAT AS EXPECTED,
    UNCLAIMED || ' messages wait to be claimed' AS DETAIL
  FROM OPS.WAITING_MESSAGES
  UNION ALL
  SELECT
    'freshness', STREAM, WAITED / ALLOWED, WAITED, ALLOWED,
    NOT_LOADED || ' messages are not in the table yet, the oldest for ' || WAITED || ' s; allowed: '
      || ROUND(ALLOWED)::INTEGER || ' s'
  FROM fresh
  UNION ALL
  SELECT
    'broker', STREAM, DATEDIFF('second', SEEN_AT, CURRENT_TIMESTAMP()), NULL, NULL,
    'Kafka told the end of the topic ' || DATEDIFF('second', SEEN_AT, CURRENT_TIMESTAMP()) || ' s ago'
  FROM OPS.WAITING_MESSAGES
  UNION ALL
  SELECT CHECK_NAME, SUBJECT, MEASURED, NULL, NULL, DETAIL FROM OPS.LEDGER_MEASUREMENTS
  UNION ALL
  SELECT 'job_watermark', JOB, BEHIND, NULL, NULL, 'by the job''s own watermark it is ' || BEHIND || ' s behind'
  FROM told
  UNION ALL
  SELECT
    'job_watermark', 'streaming-fraud',
    GREATEST(DATEDIFF('second', COALESCE(NEWEST_AGGREGATE, FIRST_PAYMENT), NEWEST_PAYMENT), 0), NULL, NULL,
    'the job does not tell its watermark; by the ledger the newest aggregate is '
      || GREATEST(DATEDIFF('second', COALESCE(NEWEST_AGGREGATE, FIRST_PAYMENT), NEWEST_PAYMENT), 0)
      || ' s older than the newest payment'
  FROM job
  WHERE 'streaming-fraud' NOT IN (SELECT JOB FROM told)
  UNION ALL
  SELECT
    'undelivered_notifications', 'all', COALESCE(DATEDIFF('second', SINCE, CURRENT_TIMESTAMP()), 0), NULL, NULL,
    UNSENT || ' changes of state are not sent'
  FROM outbox
  UNION ALL
  SELECT
    'unknown_settings', 'all', COALESCE(COUNT_IF(v.NAME IS NULL), 0), NULL, NULL,
    COALESCE('OPS.SETTINGS has names that nothing reads: ' || LISTAGG(IFF(v.NAME IS NULL, s.NAME, NULL), ', '), 'none')
  FROM OPS.SETTINGS AS s
  LEFT JOIN OPS.SETTING_VALUES AS v ON v.NAME = s.NAME
)
SELECT
  CHECK_NAME, SUBJECT, CURRENT_TIMESTAMP(), MEASURED,
  OBSERVED, EXPECTED, NULL::VARCHAR, NULL::VARCHAR, DETAIL
FROM measured
UNION ALL
-- A stream that was removed, a sensor that was taken down: whatever nobody measures any more.
SELECT
  h.CHECK_NAME, h.SUBJECT, CURRENT_TIMESTAMP(), 0, NULL, NULL, h.CATEGORY, h.LOCATION,
  'not measured any more'
FROM OPS.HEALTH AS h
JOIN OPS.SETTING_VALUES AS v ON v.NAME = 'health.forget_seconds'
WHERE h.STATE <> 'ok' AND h.CHECKED_AT < DATEADD('second', -v.VALUE, CURRENT_TIMESTAMP());
