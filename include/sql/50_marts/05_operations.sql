CREATE OR REPLACE VIEW MARTS.SERVICE_SLO (
  SERVICE COMMENT 'name in the system logs',
  OBJECTIVE_PERCENT COMMENT 'log lines without error',
  ERROR_PERCENT_1H COMMENT 'in the long window, by default one hour',
  BURN_RATE_5M COMMENT 'of errors in the short window, by default five minutes',
  BURN_RATE_1H COMMENT 'of errors in the long window',
  P95_DURATION_MS COMMENT 'of the log lines of the last so many seconds (the long window)',
  STATE COMMENT 'the worst of the checks service_errors, service_latency and service_silent',
  CHANGED_AT COMMENT 'last change of state of one of them',
  AS_OF COMMENT 'event time up to which the service was judged',
  SLOW_PERCENT_1H COMMENT 'slower than SLOW_MS, in the long window',
  SLOW_MS COMMENT 'a request that takes longer is slow, milliseconds',
  SLOW_BURN_RATE_5M COMMENT 'of slow requests in the short window',
  SLOW_BURN_RATE_1H COMMENT 'of slow requests in the long window'
) COMMENT = 'Objectives and burn rates of the services, now' AS
WITH burn AS (
  SELECT *
  FROM OPS.SERVICE_BURN
  QUALIFY ROW_NUMBER() OVER (PARTITION BY SERVICE ORDER BY AS_OF DESC) = 1
),
states AS (
  SELECT
    SUBJECT,
    MAX(CASE STATE WHEN 'critical' THEN 3 WHEN 'warning' THEN 2 ELSE 1 END) AS RANK_OF_STATE,
    MAX(CHANGED_AT) AS CHANGED_AT
  FROM OPS.HEALTH
  WHERE CHECK_NAME IN ('service_errors', 'service_latency', 'service_silent')
  GROUP BY SUBJECT
),
newest AS (SELECT MAX(_TIMESTAMP) AS NEWEST FROM RAW.SYSTEM_LOGS),
durations AS (
  SELECT SERVICE, APPROX_PERCENTILE(DURATION_MS, 0.95) AS P95_DURATION_MS
  FROM RAW.SYSTEM_LOGS
  WHERE EVENT_TIME <= (SELECT NEWEST FROM newest)
    AND EVENT_TIME > (
      SELECT DATEADD('second', -v.VALUE, n.NEWEST)
      FROM newest AS n
      JOIN OPS.SETTING_VALUES AS v ON v.NAME = 'services.long_seconds'
    )
  GROUP BY SERVICE
)
SELECT
  b.SERVICE, b.OBJECTIVE_PERCENT, b.ERROR_PERCENT_LONG, b.ERROR_BURN_SHORT, b.ERROR_BURN_LONG, d.P95_DURATION_MS,
  CASE s.RANK_OF_STATE WHEN 3 THEN 'critical' WHEN 2 THEN 'warning' ELSE 'ok' END,
  s.CHANGED_AT, b.AS_OF, b.SLOW_PERCENT_LONG, b.SLOW_MS, b.SLOW_BURN_SHORT, b.SLOW_BURN_LONG
FROM burn AS b
LEFT JOIN states AS s ON s.SUBJECT = b.SERVICE
LEFT JOIN durations AS d ON d.SERVICE = b.SERVICE;

CREATE OR REPLACE VIEW MARTS.SENSOR_ANOMALIES (
  SENSOR_ID COMMENT 'sensor',
  SENSOR_TYPE COMMENT 'what it measures: temperature, humidity, vibration, door, fuel',
  SITE_ID COMMENT 'where it is',
  KIND COMMENT 'excursion, stuck, drift, silent',
  STARTED_AT COMMENT 'when the sensor''s check last left ok',
  LAST_SEEN_AT COMMENT 'newest measurement that belongs to it',
  VALUE COMMENT 'reading, or seconds of silence',
  EXPECTED COMMENT 'in the same unit, where there is such a thing',
  DETAIL COMMENT 'in words',
  STATE COMMENT 'ok: it is over'
) COMMENT = 'The newest anomaly of every sensor and kind' AS
WITH started AS (
  SELECT *
  FROM OPS.HEALTH_CHANGES
  WHERE FROM_STATE = 'ok' AND CHECK_NAME LIKE 'sensor%'
  QUALIFY ROW_NUMBER() OVER (PARTITION BY CHECK_NAME, SUBJECT ORDER BY CHANGE_NUMBER DESC) = 1
)
SELECT
  h.SUBJECT, h.CATEGORY, h.LOCATION, REPLACE(h.CHECK_NAME, 'sensor_', ''), s.CHANGED_AT,
  IFF(h.STATE = 'ok', h.CHANGED_AT, h.CHECKED_AT),
  IFF(h.STATE = 'ok', s.OBSERVED, h.OBSERVED),
  IFF(h.STATE = 'ok', s.EXPECTED, h.EXPECTED),
  IFF(h.STATE = 'ok', s.DETAIL, h.DETAIL),
  h.STATE
FROM OPS.HEALTH AS h
JOIN started AS s ON s.CHECK_NAME = h.CHECK_NAME AND s.SUBJECT = h.SUBJECT;

CREATE OR REPLACE VIEW MARTS.PLATFORM_HEALTH (
  CHECK_NAME COMMENT 'also the anchor of its section in docs/how-to/on-call.md',
  SUBJECT COMMENT 'what was checked: a stream, a service, a sensor, a job',
  STATE COMMENT 'ok, warning, critical',
  MEASURED COMMENT 'newest measurement; higher is worse',
  LIMIT_VALUE COMMENT 'limit at which the state was entered; for ok, that of warning',
  DETAIL COMMENT 'in words',
  CHANGED_AT COMMENT 'empty: it was never other than ok',
  CHECKED_AT COMMENT 'time of the newest measurement',
  PENDING_STATE COMMENT 'what it will be if this lasts'
) COMMENT = 'State of every check; of the sensors, those that are not ok' AS
SELECT CHECK_NAME, SUBJECT, STATE, MEASURED, LIMIT_VALUE, DETAIL, CHANGED_AT, CHECKED_AT, PENDING_STATE
FROM OPS.HEALTH
WHERE STATE <> 'ok' OR CHECK_NAME NOT LIKE 'sensor%';
