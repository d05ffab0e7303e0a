-- Burn rates by the rule of two windows: a fault counts when both the short and the long window burn. A burn rate of 1
-- spends the whole error budget (100 % less the objective) in just the time that the objective is for.
CREATE OR REPLACE VIEW OPS.SERVICE_BURN (
  SERVICE,
  AS_OF COMMENT 'end of a bucket; both windows end here',
  EVENTS_SHORT COMMENT 'log lines in the short window',
  EVENTS_LONG COMMENT 'log lines in the long window',
  ERROR_PERCENT_SHORT,
  ERROR_PERCENT_LONG,
  SLOW_PERCENT_SHORT,
  SLOW_PERCENT_LONG,
  ERROR_BURN_SHORT COMMENT 'burn rate of errors',
  ERROR_BURN_LONG,
  SLOW_BURN_SHORT COMMENT 'burn rate of slow requests',
  SLOW_BURN_LONG,
  OBJECTIVE_PERCENT,
  FAST_PERCENT,
  SLOW_MS
) COMMENT = 'Burn rates of every service by event time, of the last hours' AS
WITH s AS (
  SELECT
    MAX(IFF(NAME = 'services.bucket_seconds', VALUE, NULL)) AS BUCKET,
    MAX(IFF(NAME = 'services.short_seconds', VALUE, NULL)) AS SHORT,
    MAX(IFF(NAME = 'services.long_seconds', VALUE, NULL)) AS LONG,
    MAX(IFF(NAME = 'services.late_seconds', VALUE, NULL)) AS LATE,
    MAX(IFF(NAME = 'services.catch_up_seconds', VALUE, NULL)) AS CATCH_UP
  FROM OPS.SETTING_VALUES
),
newest AS (SELECT MAX(_TIMESTAMP) AS NEWEST FROM RAW.SYSTEM_LOGS),
lines AS (
  SELECT l.SERVICE, l.EVENT_TIME, l.LEVEL, l.DURATION_MS, l._TIMESTAMP
  FROM RAW.SYSTEM_LOGS AS l
  CROSS JOIN newest AS n
  CROSS JOIN s
  LEFT JOIN OPS.UNDER_WAY AS w
    ON w.STREAM = 'system_logs' AND w.TOPIC_ID = l._TOPIC_ID AND w.PARTITION_ID = l._PARTITION
  WHERE l.EVENT_TIME > DATEADD('second', -(s.CATCH_UP + s.LONG), n.NEWEST) AND l.EVENT_TIME <= n.NEWEST
    AND (w.FRONT_OFFSET IS NULL OR l._OFFSET < w.FRONT_OFFSET)
  QUALIFY ROW_NUMBER() OVER (PARTITION BY l.EVENT_ID ORDER BY l._TIMESTAMP, l._OFFSET) = 1
),
buckets AS (
  SELECT
    l.SERVICE,
    DATEADD('second', s.BUCKET - MOD(DATE_PART(epoch_second, l.EVENT_TIME), s.BUCKET),
      DATE_TRUNC('second', l.EVENT_TIME)) AS ENDS,
    COUNT(*) AS EVENTS,
    COUNT_IF(l.LEVEL = 'ERROR') AS ERRORS,
    COUNT_IF(l.DURATION_MS > COALESCE(o.SLOW_MS, e.SLOW_MS)) AS SLOW,
    MAX(l._TIMESTAMP) AS NEWEST,
    MAX(COALESCE(o.OBJECTIVE_PERCENT, e.OBJECTIVE_PERCENT)) AS OBJECTIVE_PERCENT,
    MAX(COALESCE(o.FAST_PERCENT, e.FAST_PERCENT)) AS FAST_PERCENT,
    MAX(COALESCE(o.SLOW_MS, e.SLOW_MS)) AS SLOW_MS
  FROM lines AS l
  CROSS JOIN s
  JOIN OPS.SERVICE_OBJECTIVES AS e ON e.SERVICE = '*'
  LEFT JOIN OPS.SERVICE_OBJECTIVES AS o ON o.SERVICE = l.SERVICE
  GROUP BY l.SERVICE, DATEADD('second', s.BUCKET - MOD(DATE_PART(epoch_second, l.EVENT_TIME), s.BUCKET),
    DATE_TRUNC('second', l.EVENT_TIME))
),
reached AS (SELECT SERVICE, MAX(NEWEST) AS NEWEST FROM buckets GROUP BY SERVICE),
windows AS (
  SELECT
    t.SERVICE, t.ENDS, t.OBJECTIVE_PERCENT, t.FAST_PERCENT, t.SLOW_MS,
    SUM(IFF(b.ENDS > DATEADD('second', -s.SHORT, t.ENDS), b.EVENTS, 0)) AS EVENTS_SHORT,
    SUM(IFF(b.ENDS > DATEADD('second', -s.SHORT, t.ENDS), b.ERRORS, 0)) AS ERRORS_SHORT,
    SUM(IFF(b.ENDS > DATEADD('second', -s.SHORT, t.ENDS), b.SLOW, 0)) AS SLOW_SHORT,
    SUM(b.EVENTS) AS EVENTS_LONG,
    SUM(b.ERRORS) AS ERRORS_LONG,
    SUM(b.SLOW) AS SLOW_LONG
  FROM buckets AS t
  CROSS JOIN s
  CROSS JOIN newest AS n
  JOIN reached AS r ON r.SERVICE = t.SERVICE
  JOIN buckets AS b ON b.SERVICE = t.SERVICE
    AND b.ENDS > DATEADD('second', -s.LONG, t.ENDS) AND b.ENDS <= t.ENDS
  WHERE t.ENDS <= DATEADD('second', -s.LATE, r.NEWEST) AND t.ENDS > DATEADD('second', -s.CATCH_UP, n.NEWEST)
  GROUP BY t.SERVICE, t.ENDS, t.OBJECTIVE_PERCENT, t.FAST_PERCENT, t.SLOW_MS
)
SELECT
  SERVICE, ENDS, EVENTS_SHORT, EVENTS_LONG,
  100.0 * ERRORS_SHORT / EVENTS_SHORT,
  100.0 * ERRORS_LONG / EVENTS_LONG,
  100.0 * SLOW_SHORT / EVENTS_SHORT,
  100.0 * SLOW_LONG / EVENTS_LONG,
  100.0 * ERRORS_SHORT / EVENTS_SHORT / (100.0 - OBJECTIVE_PERCENT),
  100.0 * ERRORS_LONG / EVENTS_LONG / (100.0 - OBJECTIVE_PERCENT),
  100.0 * SLOW_SHORT / EVENTS_SHORT / (100.0 - FAST_PERCENT),
  100.0 * SLOW_LONG / EVENTS_LONG / (100.0 - FAST_PERCENT),
  OBJECTIVE_PERCENT, FAST_PERCENT, SLOW_MS
FROM windows;

CREATE OR REPLACE VIEW OPS.SERVICE_MEASUREMENTS (
  CHECK_NAME, SUBJECT COMMENT 'service', AS_OF,
  MEASURED COMMENT 'the lower of the two burn rates; empty while there are too few log lines',
  OBSERVED COMMENT 'percent in the short window',
  EXPECTED COMMENT 'percent that the objective allows',
  CATEGORY, LOCATION, DETAIL
) COMMENT = 'Measurements of services: service_errors, service_latency' AS
WITH s AS (SELECT VALUE AS LEAST_EVENTS FROM OPS.SETTING_VALUES WHERE NAME = 'services.min_events'),
burn AS (SELECT * FROM OPS.SERVICE_BURN)
SELECT
  'service_errors', b.SERVICE, b.AS_OF,
  IFF(b.EVENTS_SHORT >= s.LEAST_EVENTS, LEAST(b.ERROR_BURN_SHORT, b.ERROR_BURN_LONG), NULL),
  b.ERROR_PERCENT_SHORT, 100.0 - b.OBJECTIVE_PERCENT, NULL::VARCHAR, NULL::VARCHAR,
  'errors: ' || ROUND(b.ERROR_PERCENT_SHORT, 1) || ' % of ' || b.EVENTS_SHORT || ' log lines lately, '
    || ROUND(b.ERROR_PERCENT_LONG, 1) || ' % in the long window; allowed: ' || ROUND(100.0 - b.OBJECTIVE_PERCENT, 2) || ' %'
FROM burn AS b
CROSS JOIN s
UNION ALL
SELECT
  'service_latency', b.SERVICE, b.AS_OF,
  IFF(b.EVENTS_SHORT >= s.LEAST_EVENTS, LEAST(b.SLOW_BURN_SHORT, b.SLOW_BURN_LONG), NULL),
  b.SLOW_PERCENT_SHORT, 100.0 - b.FAST_PERCENT, NULL::VARCHAR, NULL::VARCHAR,
  'slower than ' || ROUND(b.SLOW_MS) || ' ms: ' || ROUND(b.SLOW_PERCENT_SHORT, 1) || ' % of ' || b.EVENTS_SHORT
    || ' log lines lately, ' || ROUND(b.SLOW_PERCENT_LONG, 1) || ' % in the long window; allowed: '
    || ROUND(100.0 - b.FAST_PERCENT, 2) || ' %'
FROM burn AS b
CROSS JOIN s;
