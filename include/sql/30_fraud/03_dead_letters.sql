-- Alerts that the function could not deliver, and messages that are no alerts.
CREATE TABLE IF NOT EXISTS FRAUD.DEAD_LETTERS (
  LETTER_ID VARCHAR(128) NOT NULL COMMENT 'id of the alert, else of the message',
  STATE VARCHAR(16) NOT NULL COMMENT 'sent_again: given back to the function; given_up: tried for a day; poison: no alert',
  REASON VARCHAR(1024) COMMENT 'why it is here, in words',
  DATA VARCHAR COMMENT 'the message as text',
  REDRIVES NUMBER(10,0) NOT NULL COMMENT 'times it was given back to the function',
  FIRST_SEEN_AT TIMESTAMP_TZ(6) NOT NULL COMMENT 'when it was first drained',
  LAST_SEEN_AT TIMESTAMP_TZ(6) NOT NULL COMMENT 'when it was last',
  RUN_ID VARCHAR(256) COMMENT 'the run that saw it last',
  PRIMARY KEY (LETTER_ID)
) COMMENT = 'Dead letters of the alert function';
