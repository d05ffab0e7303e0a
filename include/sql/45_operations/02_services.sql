-- Burn rates by the rule of two windows: a fault counts when both the short and the long window burn. A burn rate of 1
-- spends the whole error budget (100 % less the objective) in just the time that the objective is for.
CREATE OR REPLACE VIEW OPS.SERVICE_BURN (
  SERVICE COMMENT 'name in the system logs',
  AS_OF COMMENT 'end of a bucket; both windows end here',
  EVENTS_SHORT COMMENT 'log lines in the short window',
  EVENTS_LONG COMMENT 'log lines in the long window',
  ERROR_PERCENT_SHORT COMMENT 'errors, percent of the log lines of the short window',
  ERROR_PERCENT_LONG COMMENT 'the same of the long window',
  SLOW_PERCENT_SHORT COMMENT 'slow requests, percent of the log lines of the short window',
  SLOW_PERCENT_LONG COMMENT 'the same of the long window',
  ERROR_BURN_SHORT COMMENT 'burn rate of errors in the short window',
  ERROR_BURN_LONG COMMENT 'burn rate of errors in the long window',
  SLOW_BURN_SHORT COMMENT 'burn rate of slow requests in the short window',
  SLOW_BURN_LONG COMMENT 'burn rate of slow requests in the long window',
  OBJECTIVE_PERCENT COMMENT 'log lines without error that were promised',
  FAST_PERCENT COMMENT 'requests that are not slow that were promised',
  SLOW_MS COMMENT 'a request that takes longer is slow, milliseconds'
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
-- Bounds are scalars: as columns of a join they would be compared after all log lines were joined.
lines AS (
  SELECT l.SERVICE, l.EVENT_TIME, l.LEVEL, l.DURATION_MS, l._TIMESTAMP
  FROM RAW.SYSTEM_LOGS AS l
  LEFT JOIN OPS.UNDER_WAY AS w
    ON w.STREAM = 'system_logs' AND w.TOPIC_ID = l._TOPIC_ID AND w.PARTITION_ID = l._PARTITION
  WHERE l.EVENT_TIME > (SELECT DATEADD('second', -(s.CATCH_UP + s.LONG), n.NEWEST) FROM newest AS n CROSS JOIN s)
    AND l.EVENT_TIME <= (SELECT NEWEST FROM newest)
    AND (w.FRONT_OFFSET IS NULL OR l._OFFSET < w.FRONT_OFFSET)
  QUALIFY ROW_NUMBER() OVER (PARTITION BY l.EVENT_ID ORDER BY l._TIMESTAMP, l._OFFSET) = 1
),
counted AS (
  SELECT
    l.SERVICE,
    FLOOR(DATE_PART(epoch_second, l.EVENT_TIME) / s.BUCKET) AS AT_BUCKET,
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
  GROUP BY l.SERVICE, FLOOR(DATE_PART(epoch_second, l.EVENT_TIME) / s.BUCKET)
),
buckets AS (
  SELECT
    c.*,
    DATEADD('second', (c.AT_BUCKET + 1) * s.BUCKET, '1970-01-01T00:00:00+00:00'::TIMESTAMP_TZ) AS ENDS,
    MAX(c.NEWEST) OVER (PARTITION BY c.SERVICE) AS REACHED
  FROM counted AS c
  CROSS JOIN s
),
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
  JOIN buckets AS b ON b.SERVICE = t.SERVICE
    AND b.ENDS > DATEADD('second', -s.LONG, t.ENDS) AND b.ENDS <= t.ENDS
  WHERE t.ENDS <= DATEADD('second', -s.LATE, t.REACHED) AND t.ENDS > DATEADD('second', -s.CATCH_UP, n.NEWEST)
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

-- A service is silent while others log. Time is counted in short steps in which any service logged: a topic that stands
-- still makes nobody silent. A partition is known up to its newest message; or up to when Kafka last told its end, if all
-- before that end is loaded: a service may have a partition to itself.
CREATE OR REPLACE VIEW OPS.SERVICE_SILENCE (
  SERVICE COMMENT 'name in the system logs',
  HEARD_AT COMMENT 'Kafka time of the last log line before it',
  SILENT_UNTIL COMMENT 'Kafka time of the next log line, or up to which the logs are known',
  SILENT_SECONDS COMMENT 'of that time, the seconds in which others logged',
  USUAL_SECONDS COMMENT 'usual pause: nine of ten are no longer',
  ALLOWED_SECONDS COMMENT 'silence that is allowed'
) COMMENT = 'Longer silences of the services, and of each the present one' AS
WITH s AS (
  SELECT
    MAX(IFF(NAME = 'services.lookback_seconds', VALUE, NULL)) AS LOOKBACK,
    MAX(IFF(NAME = 'services.silent_seconds', VALUE, NULL)) AS SILENT,
    MAX(IFF(NAME = 'services.silent_seconds', VALUE, NULL)) / 10 AS STEP,
    MAX(IFF(NAME = 'services.silent_pauses', VALUE, NULL)) AS PAUSES,
    MAX(IFF(NAME = 'services.known_steps', VALUE, NULL)) AS KNOWN
  FROM OPS.SETTING_VALUES
),
newest AS (SELECT MAX(_TIMESTAMP) AS NEWEST FROM RAW.SYSTEM_LOGS),
heard AS (
  SELECT l.SERVICE, l._TOPIC_ID, l._PARTITION, l._TIMESTAMP, TRUE AS LOADED
  FROM RAW.SYSTEM_LOGS AS l
  LEFT JOIN OPS.UNDER_WAY AS w
    ON w.STREAM = 'system_logs' AND w.TOPIC_ID = l._TOPIC_ID AND w.PARTITION_ID = l._PARTITION
  WHERE l._TIMESTAMP > (SELECT DATEADD('second', -s.LOOKBACK, n.NEWEST) FROM newest AS n CROSS JOIN s)
    AND (w.FRONT_OFFSET IS NULL OR l._OFFSET < w.FRONT_OFFSET)
  UNION ALL
  SELECT q._KEY, q._TOPIC_ID, q._PARTITION, q._TIMESTAMP, FALSE
  FROM RAW.QUARANTINE AS q
  LEFT JOIN OPS.UNDER_WAY AS w
    ON w.STREAM = 'system_logs' AND w.TOPIC_ID = q._TOPIC_ID AND w.PARTITION_ID = q._PARTITION
  WHERE q.STREAM = 'system_logs'
    AND q._TIMESTAMP > (SELECT DATEADD('second', -s.LOOKBACK, n.NEWEST) FROM newest AS n CROSS JOIN s)
    AND (w.FRONT_OFFSET IS NULL OR q._OFFSET < w.FRONT_OFFSET)
),
spoken AS (
  SELECT
    h.SERVICE, h._TOPIC_ID, h._PARTITION,
    FLOOR(DATE_PART(epoch_millisecond, h._TIMESTAMP) / (1000 * s.STEP)) AS AT_STEP,
    MIN(h._TIMESTAMP) AS FIRST_AT,
    MAX(h._TIMESTAMP) AS LAST_AT,
    COUNT_IF(h.LOADED) AS LINES
  FROM heard AS h
  CROSS JOIN s
  GROUP BY h.SERVICE, h._TOPIC_ID, h._PARTITION, FLOOR(DATE_PART(epoch_millisecond, h._TIMESTAMP) / (1000 * s.STEP))
),
loaded AS (
  SELECT l.TOPIC_ID, l.PARTITION_ID, COALESCE(MIN(w.FRONT_OFFSET), MAX(l.END_OFFSET)) AS LOADED_TO
  FROM OPS.SLICES AS l
  LEFT JOIN OPS.UNDER_WAY AS w
    ON w.STREAM = l.STREAM AND w.TOPIC_ID = l.TOPIC_ID AND w.PARTITION_ID = l.PARTITION_ID
  WHERE l.STREAM = 'system_logs' AND l.STATE IN ('loaded', 'lost')
  GROUP BY l.TOPIC_ID, l.PARTITION_ID
),
idle AS (
  SELECT e.TOPIC_ID, e.PARTITION_ID, MAX(e.LAST_SEEN_AT) AS SEEN_AT
  FROM OPS.TOPIC_ENDS AS e
  JOIN loaded AS l ON l.TOPIC_ID = e.TOPIC_ID AND l.PARTITION_ID = e.PARTITION_ID
  WHERE e.STREAM = 'system_logs' AND e.END_OFFSET <= l.LOADED_TO
  GROUP BY e.TOPIC_ID, e.PARTITION_ID
),
partitions AS (
  SELECT
    p._TOPIC_ID, p._PARTITION,
    LEAST(GREATEST(MAX(p.LAST_AT), COALESCE(MAX(i.SEEN_AT), MAX(p.LAST_AT))), MAX(n.NEWEST)) AS KNOWN_UNTIL
  FROM spoken AS p
  CROSS JOIN newest AS n
  LEFT JOIN idle AS i ON i.TOPIC_ID = p._TOPIC_ID AND i.PARTITION_ID = p._PARTITION
  GROUP BY p._TOPIC_ID, p._PARTITION
),
steps AS (
  SELECT AT_STEP, ROW_NUMBER() OVER (ORDER BY AT_STEP) AS NUMBER
  FROM (SELECT DISTINCT AT_STEP FROM spoken) AS t
),
pauses AS (
  SELECT
    p.SERVICE, t.NUMBER, MIN(p.FIRST_AT) AS FIRST_AT, MAX(p.LAST_AT) AS LAST_AT,
    LAG(MAX(p.LAST_AT)) OVER (PARTITION BY p.SERVICE ORDER BY t.NUMBER) AS HEARD_AT,
    t.NUMBER - LAG(t.NUMBER) OVER (PARTITION BY p.SERVICE ORDER BY t.NUMBER) AS LENGTH
  FROM spoken AS p
  JOIN steps AS t ON t.AT_STEP = p.AT_STEP
  GROUP BY p.SERVICE, t.NUMBER
),
-- Long pauses within a pattern count (one that logs in batches), a single outage does not.
usual AS (
  SELECT SERVICE, PERCENTILE_DISC(0.9) WITHIN GROUP (ORDER BY LENGTH) AS LENGTH, COUNT(*) + 1 AS STEPS
  FROM pauses
  WHERE LENGTH IS NOT NULL
  GROUP BY SERVICE
),
services AS (
  SELECT p.SERVICE, MAX(p.LAST_AT) AS LAST_AT, MIN(k.KNOWN_UNTIL) AS KNOWN_UNTIL
  FROM spoken AS p
  JOIN partitions AS k ON k._TOPIC_ID = p._TOPIC_ID AND k._PARTITION = p._PARTITION
  GROUP BY p.SERVICE
  HAVING SUM(p.LINES) > 0
),
present AS (
  SELECT x.SERVICE, x.LAST_AT, GREATEST(x.KNOWN_UNTIL, x.LAST_AT) AS KNOWN_UNTIL, COUNT(t.NUMBER) AS SILENT_STEPS
  FROM services AS x
  CROSS JOIN s
  LEFT JOIN steps AS t
    ON t.AT_STEP > FLOOR(DATE_PART(epoch_millisecond, x.LAST_AT) / (1000 * s.STEP))
    AND t.AT_STEP < FLOOR(DATE_PART(epoch_millisecond, x.KNOWN_UNTIL) / (1000 * s.STEP))
  GROUP BY x.SERVICE, x.LAST_AT, x.KNOWN_UNTIL
),
silences AS (
  SELECT p.SERVICE, p.HEARD_AT, DATEADD('millisecond', -1, p.FIRST_AT) AS SILENT_UNTIL, p.LENGTH - 1 AS SILENT_STEPS
  FROM pauses AS p
  WHERE p.LENGTH > 10
  UNION ALL
  SELECT SERVICE, LAST_AT, KNOWN_UNTIL, SILENT_STEPS FROM present
)
SELECT
  x.SERVICE, x.HEARD_AT, x.SILENT_UNTIL, x.SILENT_STEPS * s.STEP, u.LENGTH * s.STEP,
  GREATEST(s.SILENT, s.PAUSES * u.LENGTH * s.STEP)
FROM silences AS x
CROSS JOIN s
JOIN services AS k ON k.SERVICE = x.SERVICE
JOIN usual AS u ON u.SERVICE = x.SERVICE AND u.STEPS >= s.KNOWN;

CREATE OR REPLACE VIEW OPS.SERVICE_MEASUREMENTS (
  CHECK_NAME COMMENT 'name in OPS.CHECKS',
  SUBJECT COMMENT 'service',
  AS_OF COMMENT 'event time up to which it was measured; of service_silent Kafka time',
  MEASURED COMMENT 'the lower of the two burn rates, empty while there are too few log lines; silence in allowed silences',
  OBSERVED COMMENT 'percent in the short window, or seconds of silence',
  EXPECTED COMMENT 'percent that the objective allows, or seconds of the usual pause',
  CATEGORY COMMENT 'always empty',
  LOCATION COMMENT 'always empty',
  DETAIL COMMENT 'in words'
) COMMENT = 'Measurements of services: service_errors, service_latency, service_silent' AS
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
CROSS JOIN s
UNION ALL
SELECT
  'service_silent', SERVICE, SILENT_UNTIL, SILENT_SECONDS / ALLOWED_SECONDS, SILENT_SECONDS, USUAL_SECONDS,
  NULL::VARCHAR, NULL::VARCHAR,
  'no log line for ' || ROUND(SILENT_SECONDS)::INTEGER || ' s while others log; allowed: ' || ROUND(ALLOWED_SECONDS)::INTEGER || ' s'
FROM OPS.SERVICE_SILENCE;
