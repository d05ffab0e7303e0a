-- One row per replay (core/replay/record.py): what was read again, why, by whom, and what it changed.
CREATE TABLE IF NOT EXISTS OPS.REPLAYS (
  ID VARCHAR(64) NOT NULL COMMENT 'of the replay',
  KIND VARCHAR(16) NOT NULL COMMENT 'what is read again: a range, or quarantined rows',
  STREAM VARCHAR(128) NOT NULL COMMENT 'name of the stream',
  TOPIC VARCHAR(256) COMMENT 'Kafka topic',
  TOPIC_ID VARCHAR(64) COMMENT 'epoch of the topic: another id after it was deleted and made again',
  SOURCES VARCHAR COMMENT 'JSON: which ranges come from which source',
  SELECTION VARCHAR COMMENT 'what was asked for',
  REASON VARCHAR NOT NULL COMMENT 'why, in the words of who asked',
  REQUESTED_BY VARCHAR(256) NOT NULL COMMENT 'who asked',
  CONTRACT_VERSION VARCHAR(32) NOT NULL COMMENT 'version of the contract',
  STATE VARCHAR(16) NOT NULL COMMENT 'how far it is: begun, swapped, done',
  ROWS_BEFORE NUMBER(38,0) COMMENT 'rows in RAW before it',
  QUARANTINED_BEFORE NUMBER(38,0) COMMENT 'rows in quarantine before it',
  ROWS_AFTER NUMBER(38,0) COMMENT 'rows in RAW after it',
  QUARANTINED_AFTER NUMBER(38,0) COMMENT 'rows in quarantine after it',
  BEGUN_AT TIMESTAMP_TZ(6) NOT NULL COMMENT 'when it began',
  SWAPPED_AT TIMESTAMP_TZ(6) COMMENT 'when the new rows took the place of the old',
  DONE_AT TIMESTAMP_TZ(6) COMMENT 'when it was over',
  PRIMARY KEY (ID)
) COMMENT = 'Replays of ranges and of quarantined rows';
