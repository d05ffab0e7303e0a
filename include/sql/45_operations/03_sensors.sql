-- Readings with what is needed to judge them. By event time: a late reading stands where it belongs.
CREATE OR REPLACE VIEW OPS.SENSOR_READINGS (
  SENSOR_ID COMMENT 'sensor',
  SENSOR_TYPE COMMENT 'what it measures: temperature, humidity, vibration, door, fuel',
  SITE_ID COMMENT 'where it is',
  SITE_TYPE COMMENT 'kind of site: warehouse, delivery_van',
  EVENT_TIME COMMENT 'of the reading',
  READING COMMENT 'in the unit of the sensor type',
  PEER_MEDIAN COMMENT 'of all readings of this type and kind of site',
  PEER_SPREAD COMMENT 'half of what lies between the 16th and the 84th percentile: one standard deviation, if normal',
  EQUAL_READINGS COMMENT 'length of the run of equal readings that ends here',
  LEAST_OFF_COLD_CHAIN COMMENT 'least distance from the middle of the cold chain, in half widths, of the last readings',
  LEAST_OFF_PEERS COMMENT 'least distance from the peers in one direction, in spreads, of the last readings',
  READINGS COMMENT 'number of this reading within what is looked at'
) COMMENT = 'Readings of the last hours, each with its recent past' AS
WITH s AS (
  SELECT
    MAX(IFF(NAME = 'sensors.lookback_seconds', VALUE, NULL)) AS LOOKBACK,
    MAX(IFF(NAME = 'sensors.ahead_seconds', VALUE, NULL)) AS AHEAD,
    MAX(IFF(NAME = 'sensors.temperature_low', VALUE, NULL)) AS LOW,
    MAX(IFF(NAME = 'sensors.temperature_high', VALUE, NULL)) AS HIGH,
    MAX(IFF(NAME = 'sensors.excursion_readings', VALUE, NULL)) AS EXCURSION,
    MAX(IFF(NAME = 'sensors.drift_readings', VALUE, NULL)) AS DRIFT
  FROM OPS.SETTING_VALUES
),
newest AS (SELECT MAX(_TIMESTAMP) AS NEWEST FROM RAW.IOT_TELEMETRY),
readings AS (
  SELECT r.SENSOR_ID, r.SENSOR_TYPE, r.SITE_ID, r.SITE_TYPE, r.EVENT_TIME, r."VALUE" AS READING, r._OFFSET
  FROM RAW.IOT_TELEMETRY AS r
  CROSS JOIN newest AS n
  CROSS JOIN s
  LEFT JOIN OPS.UNDER_WAY AS w
    ON w.STREAM = 'iot_telemetry' AND w.TOPIC_ID = r._TOPIC_ID AND w.PARTITION_ID = r._PARTITION
  WHERE r.EVENT_TIME > DATEADD('second', -s.LOOKBACK, n.NEWEST)
    AND r.EVENT_TIME <= DATEADD('second', s.AHEAD, r._TIMESTAMP)
    AND (w.FRONT_OFFSET IS NULL OR r._OFFSET < w.FRONT_OFFSET)
  QUALIFY ROW_NUMBER() OVER (PARTITION BY r.EVENT_ID ORDER BY r._TIMESTAMP, r._OFFSET) = 1
),
peers AS (
  SELECT
    SENSOR_TYPE, SITE_TYPE,
    APPROX_PERCENTILE(READING, 0.5) AS MIDDLE,
    (APPROX_PERCENTILE(READING, 0.84) - APPROX_PERCENTILE(READING, 0.16)) / 2 AS SPREAD
  FROM readings
  GROUP BY SENSOR_TYPE, SITE_TYPE
),
placed AS (
  SELECT
    r.*, p.MIDDLE, p.SPREAD,
    ABS(r.READING - (s.HIGH + s.LOW) / 2) / ((s.HIGH - s.LOW) / 2) AS OFF_COLD_CHAIN,
    -- What has left the cold chain is an excursion, and no drift.
    CASE
      WHEN r.SENSOR_TYPE = 'temperature' AND (r.READING > s.HIGH OR r.READING < s.LOW) THEN 0
      WHEN p.SPREAD > 0 THEN (r.READING - p.MIDDLE) / p.SPREAD
    END AS OFF_PEERS,
    ROW_NUMBER() OVER (PARTITION BY r.SENSOR_ID ORDER BY r.EVENT_TIME, r._OFFSET) AS NUMBER,
    IFF(LAG(r.READING) OVER (PARTITION BY r.SENSOR_ID ORDER BY r.EVENT_TIME, r._OFFSET) = r.READING, 0, 1) AS CHANGED
  FROM readings AS r
  JOIN peers AS p ON p.SENSOR_TYPE = r.SENSOR_TYPE AND p.SITE_TYPE = r.SITE_TYPE
  CROSS JOIN s
),
runs AS (
  SELECT *, SUM(CHANGED) OVER (PARTITION BY SENSOR_ID ORDER BY EVENT_TIME, _OFFSET ROWS UNBOUNDED PRECEDING) AS RUN
  FROM placed
),
-- The frame of a window takes no column: the last readings are joined by their number instead.
past AS (
  SELECT
    r.SENSOR_ID, r.NUMBER,
    MIN(IFF(q.NUMBER > r.NUMBER - s.EXCURSION, q.OFF_COLD_CHAIN, NULL)) AS LEAST_OFF_COLD_CHAIN,
    MIN(IFF(q.NUMBER > r.NUMBER - s.DRIFT, q.OFF_PEERS, NULL)) AS LEAST_ABOVE,
    MAX(IFF(q.NUMBER > r.NUMBER - s.DRIFT, q.OFF_PEERS, NULL)) AS LEAST_BELOW
  FROM runs AS r
  CROSS JOIN s
  JOIN runs AS q ON q.SENSOR_ID = r.SENSOR_ID AND q.NUMBER <= r.NUMBER
    AND q.NUMBER > r.NUMBER - GREATEST(s.EXCURSION, s.DRIFT)
  GROUP BY r.SENSOR_ID, r.NUMBER
)
SELECT
  r.SENSOR_ID, r.SENSOR_TYPE, r.SITE_ID, r.SITE_TYPE, r.EVENT_TIME, r.READING, r.MIDDLE, r.SPREAD,
  ROW_NUMBER() OVER (PARTITION BY r.SENSOR_ID, r.RUN ORDER BY r.NUMBER),
  IFF(r.NUMBER >= s.EXCURSION, p.LEAST_OFF_COLD_CHAIN, NULL),
  IFF(r.NUMBER >= s.DRIFT, GREATEST(p.LEAST_ABOVE, -p.LEAST_BELOW), NULL),
  r.NUMBER
FROM runs AS r
JOIN past AS p ON p.SENSOR_ID = r.SENSOR_ID AND p.NUMBER = r.NUMBER
CROSS JOIN s;

-- Silences: the present one of every sensor, and those that are over, so that none is missed between two looks.
-- Quarantined messages count: they came. A sensor's partition tells how far its messages are loaded, so that a slice
-- that is late makes nobody silent.
CREATE OR REPLACE VIEW OPS.SENSOR_SILENCE (
  SENSOR_ID COMMENT 'sensor',
  SENSOR_TYPE COMMENT 'what it measures: temperature, humidity, vibration, door, fuel',
  SITE_ID COMMENT 'where it is',
  HEARD_AT COMMENT 'Kafka''s time stamp of the last message before the silence',
  SILENT_UNTIL COMMENT 'of the message that ended it, or of the last message of the sensor''s partition',
  SILENT_SECONDS COMMENT 'length of the silence',
  INTERVAL_SECONDS COMMENT 'usual time between two of its readings',
  READINGS COMMENT 'of the sensor, in all that is looked at'
) COMMENT = 'Silences of the sensors that were heard of in the last hours' AS
WITH s AS (
  SELECT
    MAX(IFF(NAME = 'sensors.lookback_seconds', VALUE, NULL)) AS LOOKBACK,
    MAX(IFF(NAME = 'sensors.known_readings', VALUE, NULL)) AS KNOWN
  FROM OPS.SETTING_VALUES
),
newest AS (SELECT MAX(_TIMESTAMP) AS NEWEST FROM RAW.IOT_TELEMETRY),
heard AS (
  SELECT r.SENSOR_ID, r.SENSOR_TYPE, r.SITE_ID, r._TOPIC_ID, r._PARTITION, r._TIMESTAMP
  FROM RAW.IOT_TELEMETRY AS r
  CROSS JOIN newest AS n
  CROSS JOIN s
  LEFT JOIN OPS.UNDER_WAY AS w
    ON w.STREAM = 'iot_telemetry' AND w.TOPIC_ID = r._TOPIC_ID AND w.PARTITION_ID = r._PARTITION
  WHERE r._TIMESTAMP > DATEADD('second', -s.LOOKBACK, n.NEWEST)
    AND (w.FRONT_OFFSET IS NULL OR r._OFFSET < w.FRONT_OFFSET)
  QUALIFY ROW_NUMBER() OVER (PARTITION BY r.EVENT_ID ORDER BY r._TIMESTAMP, r._OFFSET) = 1
  UNION ALL
  SELECT q._KEY, NULL, NULL, q._TOPIC_ID, q._PARTITION, q._TIMESTAMP
  FROM RAW.QUARANTINE AS q
  CROSS JOIN newest AS n
  CROSS JOIN s
  LEFT JOIN OPS.UNDER_WAY AS w
    ON w.STREAM = 'iot_telemetry' AND w.TOPIC_ID = q._TOPIC_ID AND w.PARTITION_ID = q._PARTITION
  WHERE q.STREAM = 'iot_telemetry' AND q._TIMESTAMP > DATEADD('second', -s.LOOKBACK, n.NEWEST)
    AND (w.FRONT_OFFSET IS NULL OR q._OFFSET < w.FRONT_OFFSET)
),
partitions AS (SELECT _TOPIC_ID, _PARTITION, MAX(_TIMESTAMP) AS LOADED_UNTIL FROM heard GROUP BY _TOPIC_ID, _PARTITION),
sensors AS (
  SELECT
    SENSOR_ID,
    MAX(SENSOR_TYPE) AS SENSOR_TYPE,
    MAX(SITE_ID) AS SITE_ID,
    MAX(_TIMESTAMP) AS HEARD_AT,
    MAX_BY(_TOPIC_ID, _TIMESTAMP) AS TOPIC_ID,
    MAX_BY(_PARTITION, _TIMESTAMP) AS PARTITION_ID,
    COUNT(*) AS READINGS,
    DATEDIFF('millisecond', MIN(_TIMESTAMP), MAX(_TIMESTAMP)) / 1000.0 AS SPAN
  FROM heard
  GROUP BY SENSOR_ID
),
-- Usual intervals: of the sensor if it has reported often enough, else of its type.
kinds AS (
  SELECT SENSOR_TYPE, SUM(SPAN) / SUM(READINGS - 1) AS INTERVAL_SECONDS
  FROM sensors
  WHERE READINGS > 1
  GROUP BY SENSOR_TYPE
),
known AS (
  SELECT
    x.*, p.LOADED_UNTIL,
    IFF(x.READINGS > 2 * s.KNOWN, x.SPAN / (x.READINGS - 1), k.INTERVAL_SECONDS) AS INTERVAL_SECONDS
  FROM sensors AS x
  JOIN partitions AS p ON p._TOPIC_ID = x.TOPIC_ID AND p._PARTITION = x.PARTITION_ID
  JOIN kinds AS k ON k.SENSOR_TYPE = x.SENSOR_TYPE
  CROSS JOIN s
  WHERE x.READINGS >= s.KNOWN AND k.INTERVAL_SECONDS > 0 AND x.SPAN > 0
),
over AS (
  SELECT
    SENSOR_ID,
    _TIMESTAMP AS SILENT_UNTIL,
    LAG(_TIMESTAMP) OVER (PARTITION BY SENSOR_ID ORDER BY _TIMESTAMP) AS HEARD_AT
  FROM heard
),
silences AS (
  SELECT SENSOR_ID, HEARD_AT, DATEADD('millisecond', -1, SILENT_UNTIL) AS SILENT_UNTIL FROM over WHERE HEARD_AT IS NOT NULL
  UNION ALL
  SELECT SENSOR_ID, HEARD_AT, LOADED_UNTIL FROM known
)
SELECT
  k.SENSOR_ID, k.SENSOR_TYPE, k.SITE_ID, x.HEARD_AT, x.SILENT_UNTIL,
  DATEDIFF('millisecond', x.HEARD_AT, x.SILENT_UNTIL) / 1000.0,
  k.INTERVAL_SECONDS, k.READINGS
FROM silences AS x
JOIN known AS k ON k.SENSOR_ID = x.SENSOR_ID;

CREATE OR REPLACE VIEW OPS.SENSOR_MEASUREMENTS (
  CHECK_NAME COMMENT 'name in OPS.CHECKS',
  SUBJECT COMMENT 'sensor',
  AS_OF COMMENT 'event time of the reading; of sensor_silent Kafka time',
  MEASURED COMMENT 'ratio to what is allowed; from 1 on it is an anomaly',
  OBSERVED COMMENT 'reading, or seconds of silence',
  EXPECTED COMMENT 'in the same unit',
  CATEGORY COMMENT 'sensor type',
  LOCATION COMMENT 'site',
  DETAIL COMMENT 'in words'
) COMMENT = 'Measurements of sensors: sensor_excursion, sensor_stuck, sensor_drift, sensor_silent' AS
WITH s AS (
  SELECT
    MAX(IFF(NAME = 'sensors.temperature_low', VALUE, NULL)) AS LOW,
    MAX(IFF(NAME = 'sensors.temperature_high', VALUE, NULL)) AS HIGH,
    MAX(IFF(NAME = 'sensors.stuck_readings', VALUE, NULL)) AS STUCK,
    MAX(IFF(NAME = 'sensors.drift_spreads', VALUE, NULL)) AS SPREADS,
    MAX(IFF(NAME = 'sensors.silent_intervals', VALUE, NULL)) AS SILENT
  FROM OPS.SETTING_VALUES
),
readings AS (SELECT * FROM OPS.SENSOR_READINGS)
SELECT
  'sensor_excursion', r.SENSOR_ID, r.EVENT_TIME, r.LEAST_OFF_COLD_CHAIN,
  r.READING, (s.LOW + s.HIGH) / 2, r.SENSOR_TYPE, r.SITE_ID,
  ROUND(r.READING, 2) || ' degrees; the cold chain is ' || ROUND(s.LOW, 1) || ' to ' || ROUND(s.HIGH, 1)
FROM readings AS r
CROSS JOIN s
WHERE r.SENSOR_TYPE = 'temperature'
UNION ALL
-- Doors repeat themselves, and a vibration of nothing is a machine that stands still.
SELECT
  'sensor_stuck', r.SENSOR_ID, r.EVENT_TIME, r.EQUAL_READINGS / s.STUCK,
  r.READING, NULL, r.SENSOR_TYPE, r.SITE_ID,
  ROUND(r.READING, 2) || ' in ' || r.EQUAL_READINGS || ' readings in a row'
FROM readings AS r
CROSS JOIN s
WHERE r.SENSOR_TYPE <> 'door' AND r.READING <> 0
UNION ALL
SELECT
  'sensor_drift', r.SENSOR_ID, r.EVENT_TIME,
  r.LEAST_OFF_PEERS / s.SPREADS,
  r.READING, r.PEER_MEDIAN, r.SENSOR_TYPE, r.SITE_ID,
  ROUND(r.READING, 2) || '; peers have ' || ROUND(r.PEER_MEDIAN, 2) || ' and a spread of ' || ROUND(r.PEER_SPREAD, 2)
FROM readings AS r
CROSS JOIN s
WHERE r.SENSOR_TYPE IN ('temperature', 'humidity', 'vibration')
UNION ALL
SELECT
  'sensor_silent', q.SENSOR_ID, q.SILENT_UNTIL, q.SILENT_SECONDS / q.INTERVAL_SECONDS / s.SILENT,
  q.SILENT_SECONDS, q.INTERVAL_SECONDS, q.SENSOR_TYPE, q.SITE_ID,
  'silent for ' || ROUND(q.SILENT_SECONDS) || ' s; it reported every ' || ROUND(q.INTERVAL_SECONDS, 1) || ' s'
FROM OPS.SENSOR_SILENCE AS q
CROSS JOIN s;

CREATE OR REPLACE VIEW OPS.OPERATIONS_MEASUREMENTS (
  CHECK_NAME COMMENT 'name in OPS.CHECKS',
  SUBJECT COMMENT 'service or sensor',
  AS_OF COMMENT 'event time of what was measured; of silences Kafka time',
  MEASURED COMMENT 'measurement; higher is worse',
  OBSERVED COMMENT 'what was seen, in its own unit, where the measurement is a ratio',
  EXPECTED COMMENT 'what was expected, in the same unit',
  CATEGORY COMMENT 'sensor type',
  LOCATION COMMENT 'site of the sensor',
  DETAIL COMMENT 'in words'
) COMMENT = 'Measurements of services and sensors, for DAG operations' AS
SELECT * FROM OPS.SERVICE_MEASUREMENTS
UNION ALL
SELECT * FROM OPS.SENSOR_MEASUREMENTS;
