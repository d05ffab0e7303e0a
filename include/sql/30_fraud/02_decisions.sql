-- Orders that the fraud response has stopped, by the payment that raised the alert.
CREATE TABLE IF NOT EXISTS FRAUD.ORDER_HOLDS (
  TRANSACTION_ID VARCHAR(64) NOT NULL COMMENT 'the payment (event_id of transactions)',
  CASE_ID VARCHAR(64) NOT NULL,
  CUSTOMER_ID VARCHAR(16) NOT NULL,
  EVENT_TIME TIMESTAMP_TZ(6) NOT NULL COMMENT 'time of the payment',
  AMOUNT NUMBER(12,2) NOT NULL,
  CURRENCY VARCHAR(3) NOT NULL,
  STATE VARCHAR(16) NOT NULL COMMENT 'held: do not ship; cancelled: do not ship, pay back; released: ship',
  HELD_AT TIMESTAMP_TZ(6) NOT NULL,
  CLOSED_AT TIMESTAMP_TZ(6) COMMENT 'when it was cancelled or released',
  PRIMARY KEY (TRANSACTION_ID)
) COMMENT = 'Orders held, cancelled and released by the fraud response';

-- Every decision, also those that a later one has overtaken.
CREATE TABLE IF NOT EXISTS FRAUD.DECISIONS (
  QUESTION_ID VARCHAR(300) NOT NULL COMMENT 'run and number of the question',
  CASE_ID VARCHAR(64) NOT NULL,
  CUSTOMER_ID VARCHAR(16) NOT NULL,
  DECISION VARCHAR(16) NOT NULL COMMENT 'blocked, released, unanswered',
  DECIDED_BY VARCHAR(256) COMMENT 'empty when the time to answer ran out',
  DECIDED_AT TIMESTAMP_TZ(6) NOT NULL,
  NOTE VARCHAR(2048),
  SEVERITY VARCHAR(8) NOT NULL COMMENT 'of the case when it was asked about',
  PRIMARY KEY (QUESTION_ID, CASE_ID)
) COMMENT = 'Who decided what about which case, and when';

CREATE TABLE IF NOT EXISTS FRAUD.BLOCKED_ACCOUNTS (
  CUSTOMER_ID VARCHAR(16) NOT NULL,
  CASE_ID VARCHAR(64) NOT NULL COMMENT 'the case that led to it',
  BLOCKED_BY VARCHAR(256),
  BLOCKED_AT TIMESTAMP_TZ(6) NOT NULL,
  PRIMARY KEY (CUSTOMER_ID)
) COMMENT = 'Accounts that may not order';

-- What people found out: the truth that rules and models are judged by.
CREATE TABLE IF NOT EXISTS FRAUD.LABELS (
  ALERT_ID VARCHAR(64) NOT NULL,
  CASE_ID VARCHAR(64) NOT NULL,
  CUSTOMER_ID VARCHAR(16) NOT NULL,
  TRANSACTION_ID VARCHAR(64) NOT NULL,
  RULE VARCHAR(32) NOT NULL,
  RULE_VERSION VARCHAR(16),
  LABEL VARCHAR(16) NOT NULL COMMENT 'fraud, legitimate',
  LABELLED_BY VARCHAR(256),
  LABELLED_AT TIMESTAMP_TZ(6) NOT NULL,
  PRIMARY KEY (ALERT_ID)
) COMMENT = 'Alerts of decided cases, confirmed or not';
