-- Messages that could not be decoded or broke a row rule, as they came, with the reason.
CREATE TABLE IF NOT EXISTS RAW.QUARANTINE (
  STREAM VARCHAR(128) NOT NULL COMMENT 'name of the stream',
  TOPIC VARCHAR(256) NOT NULL COMMENT 'Kafka topic',
  _TOPIC_ID VARCHAR(64) NOT NULL COMMENT 'epoch of the topic',
  _PARTITION NUMBER(10,0) NOT NULL COMMENT 'partition of the message',
  _OFFSET NUMBER(38,0) NOT NULL COMMENT 'offset of the message',
  _TIMESTAMP TIMESTAMP_TZ(6) COMMENT 'Kafka''s time of the message',
  _KEY VARCHAR COMMENT 'key of the message, as text',
  _HEADERS VARCHAR COMMENT 'headers of the message, JSON',
  RAW BINARY(67108864) COMMENT 'the message as it came',
  REASON VARCHAR COMMENT 'what is wrong, in words',
  RULE VARCHAR(128) COMMENT 'rule that was broken',
  "COLUMN" VARCHAR(256) COMMENT 'column that broke it; empty: the whole message',
  CONTRACT_VERSION VARCHAR(32) COMMENT 'version of the contract',
  RUN_ID VARCHAR(256) COMMENT 'run that put it here'
) COMMENT = 'Rows that were not loaded, and why';
