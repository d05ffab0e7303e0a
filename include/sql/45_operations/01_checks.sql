-- Every limit and window in one place, with its default. Another value is a row of OPS.SETTINGS, not an edit here.
-- How fresh a stream must be has a name of its own, whose default is what its contract promises.
CREATE OR REPLACE VIEW OPS.SETTING_VALUES (
  NAME COMMENT 'check or topic, and what is set',
  VALUE COMMENT 'in force: that of OPS.SETTINGS, else the default',
  DEFAULT_VALUE COMMENT 'what holds without a row in OPS.SETTINGS',
  MEANING COMMENT 'what it is, with its unit'
) COMMENT = 'Settings of the checks' AS
WITH plain AS (
SELECT d.NAME, COALESCE(s.VALUE, d.DEFAULT_VALUE) AS VALUE, d.DEFAULT_VALUE, d.MEANING
  FROM (VALUES
  ('services.bucket_seconds', 60, 'services are judged once per so many seconds of event time'),
  ('services.short_seconds', 300, 'short window of a burn rate'),
  ('services.long_seconds', 3600, 'long window of a burn rate'),
  ('services.min_events', 20, 'log lines that the short window must have'),
  ('services.late_seconds', 30, 'so long is waited for late log lines'),
  ('services.catch_up_seconds', 7200, 'so far back is judged what was not judged in its time'),
  ('services.lookback_seconds', 3600, 'log lines that are looked at for silence'),
  ('services.silent_seconds', 300, 'silence that every service is allowed, counted in steps of a tenth of it'),
  ('services.silent_pauses', 5, 'silence that a service is allowed, in usual pauses of its own'),
  ('services.known_steps', 12, 'a service that logged in fewer such steps is not judged as silent'),
  ('sensors.lookback_seconds', 3600, 'readings that are looked at'),
  ('sensors.ahead_seconds', 300, 'a reading from further in the future than this is left out'),
  ('sensors.temperature_low', 2, 'cold chain, degrees Celsius'),
  ('sensors.temperature_high', 8, 'cold chain, degrees Celsius'),
  ('sensors.excursion_readings', 3, 'readings in a row outside of the cold chain'),
  ('sensors.stuck_readings', 8, 'equal readings in a row'),
  ('sensors.drift_readings', 6, 'readings in a row that are off in one direction'),
  ('sensors.drift_spreads', 6, 'how far off, in spreads of the peers (sensors of this type and kind of site)'),
  ('sensors.silent_intervals', 4, 'missed intervals between readings'),
  ('sensors.known_readings', 3, 'a sensor with fewer readings is not judged as silent'),
  ('streams.wait_seconds', 300, 'so long is waited for a range that is claimed and not loaded, before judging what lies beyond it'),
  ('streams.freshness_seconds', 180, 'so long may messages of a stream wait to be in their table, if its contract promises nothing'),
  ('jobs.known_seconds', 120, 'a watermark that a job told longer ago is not used'),
  ('streams.window_seconds', 3600, 'quarantine rate and gates: slices loaded in so many seconds'),
  ('streams.min_rows', 100, 'a quarantine rate is judged from so many rows on'),
  ('health.forget_seconds', 604800, 'a subject that is measured no more is ok after so long'),

  ('service_errors.warning_enter', 6, 'burn rate, in both windows'),
  ('service_errors.warning_leave', 3, 'burn rate'),
  ('service_errors.critical_enter', 14.4, 'burn rate, in both windows'),
  ('service_errors.critical_leave', 6, 'burn rate'),
  ('service_errors.worse_after', 60, 'seconds'),
  ('service_errors.better_after', 300, 'seconds'),
  ('service_latency.warning_enter', 6, 'burn rate, in both windows'),
  ('service_latency.warning_leave', 3, 'burn rate'),
  ('service_latency.critical_enter', 14.4, 'burn rate, in both windows'),
  ('service_latency.critical_leave', 6, 'burn rate'),
  ('service_latency.worse_after', 60, 'seconds'),
  ('service_latency.better_after', 300, 'seconds'),
  ('service_silent.warning_enter', 1, 'silence, in what the service is allowed'),
  ('service_silent.warning_leave', 0.5, 'the same'),
  ('service_silent.critical_enter', 3, 'the same'),
  ('service_silent.critical_leave', 0.5, 'the same'),
  ('service_silent.worse_after', 0, 'seconds'),
  ('service_silent.better_after', 60, 'seconds'),
  ('sensor_excursion.warning_enter', 1, 'distance from the middle of the cold chain, in half widths'),
  ('sensor_excursion.warning_leave', 0.85, 'half widths'),
  ('sensor_excursion.critical_enter', 1.7, 'half widths'),
  ('sensor_excursion.critical_leave', 1.3, 'half widths'),
  ('sensor_excursion.worse_after', 0, 'seconds'),
  ('sensor_excursion.better_after', 120, 'seconds'),
  ('sensor_stuck.warning_enter', 1, 'equal readings, in sensors.stuck_readings'),
  ('sensor_stuck.warning_leave', 0.5, 'the same'),
  ('sensor_stuck.worse_after', 0, 'seconds'),
  ('sensor_stuck.better_after', 120, 'seconds'),
  ('sensor_drift.warning_enter', 1, 'distance from the peers, in sensors.drift_spreads'),
  ('sensor_drift.warning_leave', 0.6, 'the same'),
  ('sensor_drift.worse_after', 0, 'seconds'),
  ('sensor_drift.better_after', 120, 'seconds'),
  ('sensor_silent.warning_enter', 1, 'silence, in sensors.silent_intervals of this sensor'),
  ('sensor_silent.warning_leave', 0.5, 'the same'),
  ('sensor_silent.worse_after', 0, 'seconds'),
  ('sensor_silent.better_after', 0, 'seconds'),
  ('slice_lag.warning_enter', 120, 'seconds that messages have waited to be claimed'),
  ('slice_lag.warning_leave', 60, 'seconds'),
  ('slice_lag.critical_enter', 600, 'seconds'),
  ('slice_lag.critical_leave', 300, 'seconds'),
  ('slice_lag.worse_after', 60, 'seconds'),
  ('slice_lag.better_after', 60, 'seconds'),
  ('freshness.warning_enter', 1, 'waiting for the table, in what streams.freshness_seconds allows the stream'),
  ('freshness.warning_leave', 0.5, 'the same'),
  ('freshness.critical_enter', 5, 'the same'),
  ('freshness.critical_leave', 2.5, 'the same'),
  ('freshness.worse_after', 60, 'seconds'),
  ('freshness.better_after', 60, 'seconds'),
  ('quarantine_rate.warning_enter', 3, 'percent of the rows'),
  ('quarantine_rate.warning_leave', 2, 'percent'),
  ('quarantine_rate.critical_enter', 10, 'percent'),
  ('quarantine_rate.critical_leave', 6, 'percent'),
  ('quarantine_rate.worse_after', 0, 'seconds'),
  ('quarantine_rate.better_after', 300, 'seconds'),
  ('unfinished_slices.warning_enter', 600, 'seconds since the oldest was claimed'),
  ('unfinished_slices.warning_leave', 600, 'seconds'),
  ('unfinished_slices.critical_enter', 3600, 'seconds'),
  ('unfinished_slices.critical_leave', 3600, 'seconds'),
  ('unfinished_slices.worse_after', 0, 'seconds'),
  ('unfinished_slices.better_after', 0, 'seconds'),
  ('ledger_gaps.warning_enter', 1, 'offsets that no range covers'),
  ('ledger_gaps.warning_leave', 1, 'offsets'),
  ('ledger_gaps.critical_enter', 1, 'offsets'),
  ('ledger_gaps.critical_leave', 1, 'offsets'),
  ('ledger_gaps.worse_after', 120, 'seconds: a run that has just claimed is about to record it'),
  ('ledger_gaps.better_after', 0, 'seconds'),
  ('ledger_overlaps.warning_enter', 1, 'ranges that overlap'),
  ('ledger_overlaps.warning_leave', 1, 'ranges'),
  ('ledger_overlaps.critical_enter', 1, 'ranges'),
  ('ledger_overlaps.critical_leave', 1, 'ranges'),
  ('ledger_overlaps.worse_after', 0, 'seconds'),
  ('ledger_overlaps.better_after', 0, 'seconds'),
  ('lost_ranges.warning_enter', 1, 'ranges that nobody has acknowledged'),
  ('lost_ranges.warning_leave', 1, 'ranges'),
  ('lost_ranges.critical_enter', 1, 'ranges'),
  ('lost_ranges.critical_leave', 1, 'ranges'),
  ('lost_ranges.worse_after', 0, 'seconds'),
  ('lost_ranges.better_after', 0, 'seconds'),
  ('failed_gates.warning_enter', 1, 'ranges that failed a gate'),
  ('failed_gates.warning_leave', 1, 'ranges'),
  ('failed_gates.critical_enter', 5, 'ranges'),
  ('failed_gates.critical_leave', 1, 'ranges'),
  ('failed_gates.worse_after', 0, 'seconds'),
  ('failed_gates.better_after', 0, 'seconds'),
  ('job_watermark.warning_enter', 300, 'seconds that the job is behind'),
  ('job_watermark.warning_leave', 180, 'seconds'),
  ('job_watermark.critical_enter', 900, 'seconds'),
  ('job_watermark.critical_leave', 600, 'seconds'),
  ('job_watermark.worse_after', 60, 'seconds'),
  ('job_watermark.better_after', 60, 'seconds'),
  ('broker.warning_enter', 180, 'seconds since Kafka last told the end of a topic'),
  ('broker.warning_leave', 120, 'seconds'),
  ('broker.critical_enter', 600, 'seconds'),
  ('broker.critical_leave', 120, 'seconds'),
  ('broker.worse_after', 0, 'seconds'),
  ('broker.better_after', 0, 'seconds'),
  ('undelivered_notifications.warning_enter', 300, 'seconds since the oldest was recorded'),
  ('undelivered_notifications.warning_leave', 300, 'seconds'),
  ('undelivered_notifications.worse_after', 0, 'seconds'),
  ('undelivered_notifications.better_after', 0, 'seconds'),
  ('unknown_settings.warning_enter', 1, 'rows of OPS.SETTINGS that nothing reads'),
  ('unknown_settings.warning_leave', 1, 'rows'),
  ('unknown_settings.worse_after', 0, 'seconds'),
  ('unknown_settings.better_after', 0, 'seconds')
) AS d (NAME, DEFAULT_VALUE, MEANING)
LEFT JOIN OPS.SETTINGS AS s ON s.NAME = d.NAME
)
SELECT NAME, VALUE, DEFAULT_VALUE, MEANING FROM plain
UNION ALL
SELECT
  p.NAME || '.' || o.STREAM, COALESCE(s.VALUE, o.FRESHNESS_SECONDS, p.VALUE), COALESCE(o.FRESHNESS_SECONDS, p.DEFAULT_VALUE),
  IFF(o.FRESHNESS_SECONDS IS NULL, p.MEANING, 'the contract promises so')
FROM OPS.STREAM_OBJECTIVES AS o
JOIN plain AS p ON p.NAME = 'streams.freshness_seconds'
LEFT JOIN OPS.SETTINGS AS s ON s.NAME = p.NAME || '.' || o.STREAM;

CREATE OR REPLACE VIEW OPS.CHECKS (
  CHECK_NAME COMMENT 'also the anchor of its section in docs/how-to/on-call.md',
  QUIET COMMENT 'subjects that were never other than ok have no row in OPS.HEALTH: there are very many',
  WARNING_ENTER COMMENT 'warning from here on',
  WARNING_LEAVE COMMENT 'ok again below this',
  CRITICAL_ENTER COMMENT 'critical from here on; empty: never',
  CRITICAL_LEAVE COMMENT 'warning again below this',
  WORSE_AFTER COMMENT 'seconds that a worse state must be asked for',
  BETTER_AFTER COMMENT 'seconds that a better state must be asked for'
) COMMENT = 'Checks with their limits' AS
SELECT
  SPLIT_PART(NAME, '.', 1) AS CHECK_NAME,
  SPLIT_PART(NAME, '.', 1) LIKE 'sensor%' AS QUIET,
  MAX(IFF(SPLIT_PART(NAME, '.', 2) = 'warning_enter', VALUE, NULL)) AS WARNING_ENTER,
  MAX(IFF(SPLIT_PART(NAME, '.', 2) = 'warning_leave', VALUE, NULL)) AS WARNING_LEAVE,
  MAX(IFF(SPLIT_PART(NAME, '.', 2) = 'critical_enter', VALUE, NULL)) AS CRITICAL_ENTER,
  MAX(IFF(SPLIT_PART(NAME, '.', 2) = 'critical_leave', VALUE, NULL)) AS CRITICAL_LEAVE,
  MAX(IFF(SPLIT_PART(NAME, '.', 2) = 'worse_after', VALUE, NULL)) AS WORSE_AFTER,
  MAX(IFF(SPLIT_PART(NAME, '.', 2) = 'better_after', VALUE, NULL)) AS BETTER_AFTER
FROM OPS.SETTING_VALUES
GROUP BY SPLIT_PART(NAME, '.', 1)
HAVING MAX(IFF(SPLIT_PART(NAME, '.', 2) = 'warning_enter', VALUE, NULL)) IS NOT NULL;

-- What the shop's services have promised. A service that is not named here has the row of '*'.
CREATE OR REPLACE VIEW OPS.SERVICE_OBJECTIVES (
  SERVICE COMMENT 'name in the system logs',
  OBJECTIVE_PERCENT COMMENT 'log lines without error',
  SLOW_MS COMMENT 'a request that takes longer is slow',
  FAST_PERCENT COMMENT 'requests that are not slow'
) COMMENT = 'Objectives of the services' AS
SELECT SERVICE, OBJECTIVE_PERCENT, SLOW_MS, FAST_PERCENT
FROM (VALUES
  ('*', 98, 1000, 95),
  ('auth', 98, 500, 95),
  ('cart', 98, 200, 95),
  ('catalog', 98, 200, 95),
  ('checkout', 98, 400, 95),
  ('payments', 98, 1000, 95),
  ('search', 98, 300, 95),
  ('shipping', 98, 500, 95)
) AS o (SERVICE, OBJECTIVE_PERCENT, SLOW_MS, FAST_PERCENT);

-- Two slices may be loaded in the wrong order: what lies beyond one that is still under way is judged when that is there.
CREATE OR REPLACE VIEW OPS.UNDER_WAY (
  STREAM COMMENT 'name of the stream',
  TOPIC_ID COMMENT 'epoch of the topic: another id after it was deleted and made again',
  PARTITION_ID COMMENT 'partition of the topic',
  FRONT_OFFSET COMMENT 'first offset that is claimed and not loaded'
) COMMENT = 'Where the ranges under way begin' AS
SELECT l.STREAM, l.TOPIC_ID, l.PARTITION_ID, MIN(l.START_OFFSET)
FROM OPS.SLICES AS l
JOIN OPS.SETTING_VALUES AS v ON v.NAME = 'streams.wait_seconds'
WHERE l.STATE IN ('claimed', 'landed') AND l.CLAIMED_AT > DATEADD('second', -v.VALUE, CURRENT_TIMESTAMP())
GROUP BY l.STREAM, l.TOPIC_ID, l.PARTITION_ID;
