-- One row per check and subject (core/operations/evaluation.py): its state, and what is about to follow.
CREATE TABLE IF NOT EXISTS OPS.HEALTH (
  CHECK_NAME VARCHAR(64) NOT NULL COMMENT 'name in OPS.CHECKS',
  SUBJECT VARCHAR(256) NOT NULL COMMENT 'what was checked: a stream, a service, a sensor, a job',
  STATE VARCHAR(8) NOT NULL COMMENT 'ok, warning, critical',
  PENDING_STATE VARCHAR(8) COMMENT 'state that the measurements ask for, but not yet long enough',
  PENDING_SINCE TIMESTAMP_TZ(6) COMMENT 'since when they do',
  CHANGES NUMBER(18,0) NOT NULL COMMENT 'changes of state so far',
  CHANGED_AT TIMESTAMP_TZ(6) COMMENT 'time of the last change, by the clock of the measurements',
  CHECKED_AT TIMESTAMP_TZ(6) NOT NULL COMMENT 'time of the newest measurement',
  MEASURED FLOAT COMMENT 'newest measurement; higher is worse',
  LIMIT_VALUE FLOAT COMMENT 'limit at which the state was entered; for ok, that of warning',
  OBSERVED FLOAT COMMENT 'what was seen, in its own unit, where the measurement is a ratio',
  EXPECTED FLOAT COMMENT 'what was expected, in the same unit',
  CATEGORY VARCHAR(64) COMMENT 'kind of subject: the type of a sensor',
  LOCATION VARCHAR(64) COMMENT 'where it is: the site of a sensor',
  DETAIL VARCHAR(1024) COMMENT 'in words',
  DAG_ID VARCHAR(256) COMMENT 'DAG that measured last',
  RUN_ID VARCHAR(256) COMMENT 'that run',
  PRIMARY KEY (CHECK_NAME, SUBJECT)
) COMMENT = 'State of every check';

-- Every change of state, once. It is sent when SENT_AT says so: what could not be sent stays and is tried again.
CREATE TABLE IF NOT EXISTS OPS.HEALTH_CHANGES (
  CHECK_NAME VARCHAR(64) NOT NULL COMMENT 'name in OPS.CHECKS',
  SUBJECT VARCHAR(256) NOT NULL COMMENT 'what was checked',
  CHANGE_NUMBER NUMBER(18,0) NOT NULL COMMENT 'counts the changes of this check and subject from 1',
  FROM_STATE VARCHAR(8) NOT NULL COMMENT 'ok, warning, critical',
  TO_STATE VARCHAR(8) NOT NULL COMMENT 'ok, warning, critical',
  CHANGED_AT TIMESTAMP_TZ(6) NOT NULL COMMENT 'by the clock of the measurements',
  MEASURED FLOAT COMMENT 'at the change',
  LIMIT_VALUE FLOAT COMMENT 'limit at which the new state was entered',
  OBSERVED FLOAT COMMENT 'what was seen, in its own unit, where the measurement is a ratio',
  EXPECTED FLOAT COMMENT 'what was expected, in the same unit',
  CATEGORY VARCHAR(64) COMMENT 'kind of subject',
  LOCATION VARCHAR(64) COMMENT 'where it is',
  DETAIL VARCHAR(1024) COMMENT 'in words',
  DAG_ID VARCHAR(256) COMMENT 'DAG that measured',
  RUN_ID VARCHAR(256) COMMENT 'that run',
  RECORDED_AT TIMESTAMP_TZ(6) NOT NULL COMMENT 'when it was written',
  TAKEN_BY VARCHAR(256) COMMENT 'who sends it now or tried last',
  TAKEN_AT TIMESTAMP_TZ(6) COMMENT 'when that was; empty: it is free',
  SENT_AT TIMESTAMP_TZ(6) COMMENT 'empty: still to be sent',
  ATTEMPTS NUMBER(10,0) NOT NULL COMMENT 'attempts to send it',
  LAST_ERROR VARCHAR(1024) COMMENT 'why the last one failed',
  PRIMARY KEY (CHECK_NAME, SUBJECT, CHANGE_NUMBER)
) COMMENT = 'Changes of state: a history, and the outbox of notifications';

-- What an installation wants otherwise than the defaults.
CREATE TABLE IF NOT EXISTS OPS.SETTINGS (
  NAME VARCHAR(128) NOT NULL COMMENT 'name in OPS.SETTING_VALUES',
  VALUE FLOAT NOT NULL COMMENT 'what is wanted, in the unit that OPS.SETTING_VALUES says',
  NOTE VARCHAR(1024) COMMENT 'why',
  PRIMARY KEY (NAME)
) COMMENT = 'Limits and windows of checks that differ from the defaults';

-- What the contracts promise (02_objectives.sql).
CREATE TABLE IF NOT EXISTS OPS.STREAM_OBJECTIVES (
  STREAM VARCHAR(128) NOT NULL COMMENT 'stream of the contract',
  FRESHNESS_SECONDS FLOAT COMMENT 'service level freshness, else latency, in seconds; empty: the contract states none',
  PRIMARY KEY (STREAM)
) COMMENT = 'Service levels that the contracts state';

-- What streaming jobs say of themselves (core/operations/job_watermark.py).
CREATE TABLE IF NOT EXISTS OPS.JOB_WATERMARKS (
  JOB VARCHAR(256) NOT NULL COMMENT 'name of the job',
  JOB_ID VARCHAR(128) NOT NULL COMMENT 'of the job of this name that is active',
  WATERMARK TIMESTAMP_TZ(6) NOT NULL COMMENT 'event time up to which it has everything: the oldest of its stages',
  SEEN_AT TIMESTAMP_TZ(6) NOT NULL COMMENT 'when it said so',
  PRIMARY KEY (JOB)
) COMMENT = 'Data watermarks of the streaming jobs';

-- Ends of topics as they were seen: when did the topic first reach an offset? (core/operations/topic_ends.py)
CREATE TABLE IF NOT EXISTS OPS.TOPIC_ENDS (
  STREAM VARCHAR(128) NOT NULL COMMENT 'name of the stream',
  TOPIC_ID VARCHAR(64) NOT NULL COMMENT 'epoch of the topic',
  PARTITION_ID NUMBER(10,0) NOT NULL COMMENT 'partition of the topic',
  END_OFFSET NUMBER(38,0) NOT NULL COMMENT 'last stable offset',
  FIRST_SEEN_AT TIMESTAMP_TZ(6) NOT NULL COMMENT 'when the partition was first seen to end there',
  LAST_SEEN_AT TIMESTAMP_TZ(6) NOT NULL COMMENT 'when it was last',
  PRIMARY KEY (STREAM, TOPIC_ID, PARTITION_ID, END_OFFSET)
) COMMENT = 'Ends of the topics, of the last day';
