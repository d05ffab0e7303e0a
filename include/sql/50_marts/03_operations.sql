CREATE OR REPLACE VIEW MARTS.SERVICE_HEALTH (
  MINUTE COMMENT 'of the log lines, UTC',
  SERVICE COMMENT 'name in the system logs',
  EVENTS COMMENT 'log lines',
  ERRORS COMMENT 'log lines of level ERROR',
  ERROR_PERCENT COMMENT 'errors, percent of the log lines',
  P95_DURATION_MS COMMENT '95th percentile, milliseconds',
  FAILED_LOGINS COMMENT 'log lines of action login_failed'
) COMMENT = 'Requests, errors and latency of the shop services, by minute' AS
WITH minutes AS (
  SELECT MINUTE, SERVICE, EVENTS, ERRORS, P95_DURATION_MS, FAILED_LOGINS FROM ROLLUPS.SERVICE_HEALTH
  UNION ALL
  SELECT MINUTE, SERVICE, EVENTS, ERRORS, P95_DURATION_MS, FAILED_LOGINS FROM ROLLUPS.SERVICE_HEALTH_OPEN
)
SELECT
  MINUTE, SERVICE, EVENTS, ERRORS, 100.0 * ERRORS / EVENTS AS ERROR_PERCENT, P95_DURATION_MS, FAILED_LOGINS
FROM minutes;

-- The newest time first: only its rows are then compared.
CREATE OR REPLACE VIEW MARTS.SENSOR_HEALTH (
  SENSOR_ID COMMENT 'sensor',
  SENSOR_TYPE COMMENT 'what it measures: temperature, humidity, vibration, door, fuel',
  SITE_ID COMMENT 'where it is',
  SITE_TYPE COMMENT 'kind of site: warehouse, delivery_van',
  "VALUE" COMMENT 'newest reading, in UNIT',
  UNIT COMMENT 'of the reading: celsius, percent, mm_s, open, litre',
  STATUS COMMENT 'what the sensor says of itself: ok, warning, fault',
  BATTERY_PERCENT COMMENT '0 to 100',
  EVENT_TIME COMMENT 'of the reading'
) COMMENT = 'Newest reading of every sensor' AS
WITH newest AS (SELECT SENSOR_ID, MAX(EVENT_TIME) AS EVENT_TIME FROM RAW.IOT_TELEMETRY GROUP BY SENSOR_ID)
SELECT
  r.SENSOR_ID, r.SENSOR_TYPE, r.SITE_ID, r.SITE_TYPE, r."VALUE", r.UNIT, r.STATUS, r.BATTERY_PERCENT, r.EVENT_TIME
FROM RAW.IOT_TELEMETRY AS r
JOIN newest AS n ON n.SENSOR_ID = r.SENSOR_ID AND n.EVENT_TIME = r.EVENT_TIME
QUALIFY ROW_NUMBER() OVER (PARTITION BY r.SENSOR_ID ORDER BY r._TIMESTAMP DESC, r._OFFSET DESC) = 1;

CREATE OR REPLACE VIEW MARTS.INGEST_FRESHNESS (
  STREAM COMMENT 'name of the stream',
  NEWEST_EVENT COMMENT 'newest event time in the ledger',
  LAST_LOAD COMMENT 'when a range was loaded last',
  SECONDS_SINCE_LOAD COMMENT 'since then',
  P95_SECONDS_TO_LOAD COMMENT 'from the oldest event of a range until it was loaded, 95th percentile, seconds',
  ROWS_LOADED COMMENT 'rows, of all time',
  ROWS_QUARANTINED COMMENT 'rows, of all time',
  UNFINISHED_RANGES COMMENT 'claimed or landed, and not loaded',
  LOST_RANGES COMMENT 'ranges that Kafka deleted before they were read',
  FAILED_GATES COMMENT 'ranges that failed the fast or the deep gate'
) COMMENT = 'By stream: how fresh, how fast, what is held up' AS
SELECT
  STREAM,
  MAX(MAX_EVENT_TIME) AS NEWEST_EVENT,
  MAX(LOADED_AT) AS LAST_LOAD,
  DATEDIFF('second', MAX(LOADED_AT), CURRENT_TIMESTAMP()) AS SECONDS_SINCE_LOAD,
  APPROX_PERCENTILE(DATEDIFF('millisecond', MIN_EVENT_TIME, LOADED_AT) / 1000.0, 0.95) AS P95_SECONDS_TO_LOAD,
  SUM(ROWS_LOADED) AS ROWS_LOADED,
  SUM(ROWS_QUARANTINED) AS ROWS_QUARANTINED,
  COUNT_IF(STATE IN ('claimed', 'landed')) AS UNFINISHED_RANGES,
  COUNT_IF(STATE = 'lost') AS LOST_RANGES,
  COUNT_IF(GATE = 'fail' OR DEEP_GATE = 'fail') AS FAILED_GATES
FROM OPS.SLICES
GROUP BY STREAM;

CREATE OR REPLACE VIEW MARTS.UNFINISHED_SLICES (
  STREAM COMMENT 'name of the stream',
  TOPIC COMMENT 'Kafka topic',
  PARTITION_ID COMMENT 'partition of the topic',
  START_OFFSET COMMENT 'first offset of the range',
  END_OFFSET COMMENT 'offset after the last one of the range',
  STATE COMMENT 'claimed, landed',
  DAG_ID COMMENT 'DAG of the run',
  RUN_ID COMMENT 'run_id of the DAG run',
  CLAIMED_AT COMMENT 'when a run took it',
  SECONDS_OPEN COMMENT 'since then'
) COMMENT = 'Claimed, but not in RAW: runs to look after' AS
SELECT
  STREAM, TOPIC, PARTITION_ID, START_OFFSET, END_OFFSET, STATE, DAG_ID, RUN_ID, CLAIMED_AT,
  DATEDIFF('second', CLAIMED_AT, CURRENT_TIMESTAMP()) AS SECONDS_OPEN
FROM OPS.SLICES
WHERE STATE IN ('claimed', 'landed');

CREATE OR REPLACE VIEW MARTS.QUARANTINE_REASONS (
  STREAM COMMENT 'name of the stream',
  RULE COMMENT 'rule that was broken',
  "COLUMN" COMMENT 'column that broke it; empty: the whole message',
  EXAMPLE COMMENT 'one of the reasons, in words: senders of messages may have written it',
  ROWS_HELD COMMENT 'messages in quarantine',
  LAST_SEEN COMMENT 'Kafka time of the newest of them'
) COMMENT = 'What is wrong with messages, by stream, rule and column' AS
SELECT STREAM, RULE, "COLUMN", MIN(REASON) AS EXAMPLE, COUNT(*) AS ROWS_HELD, MAX(_TIMESTAMP) AS LAST_SEEN
FROM RAW.QUARANTINE
GROUP BY STREAM, RULE, "COLUMN";

-- A late event, or a restart of the job that reads some minutes again, emits a window a second time: the fullest counts.
CREATE OR REPLACE VIEW MARTS.STREAM_METRICS_PER_MINUTE (
  METRIC COMMENT 'what is added up: sales, declined, page_views, login_failures',
  DIMENSION COMMENT 'of what: a currency, a type of page, a country and the like',
  MINUTE COMMENT 'beginning of the minute of the events, UTC',
  EVENTS COMMENT 'events in it',
  "VALUE" COMMENT 'sum over them, in the unit of the metric',
  EMITTED_TIME COMMENT 'when the job sent the row'
) COMMENT = 'Aggregates of the streaming job, one row per metric, minute and dimension' AS
SELECT METRIC, DIMENSION, WINDOW_START AS MINUTE, EVENTS, "VALUE", EMITTED_TIME
FROM RAW.STREAM_METRICS
QUALIFY ROW_NUMBER() OVER (PARTITION BY METRIC_ID ORDER BY EVENTS DESC, EMITTED_TIME DESC) = 1;
