-- Orders that the fraud response has stopped, by the payment that raised the alert.
CREATE TABLE IF NOT EXISTS FRAUD.ORDER_HOLDS (
  TRANSACTION_ID VARCHAR(64) NOT NULL COMMENT 'the payment (event_id of transactions)',
  CASE_ID VARCHAR(64) NOT NULL COMMENT 'customer and day: C000123-20261124',
  CUSTOMER_ID VARCHAR(16) NOT NULL COMMENT 'customer',
  EVENT_TIME TIMESTAMP_TZ(6) NOT NULL COMMENT 'time of the payment',
  AMOUNT NUMBER(12,2) NOT NULL COMMENT 'of the payment, in CURRENCY',
  CURRENCY VARCHAR(3) NOT NULL COMMENT 'ISO 4217 code',
  STATE VARCHAR(16) NOT NULL COMMENT 'held: do not ship; cancelled: do not ship, pay back; released: ship',
  HELD_AT TIMESTAMP_TZ(6) NOT NULL COMMENT 'when it was stopped',
  CLOSED_AT TIMESTAMP_TZ(6) COMMENT 'when it was cancelled or released',
  PRIMARY KEY (TRANSACTION_ID)
) COMMENT = 'Orders held, cancelled and released by the fraud response';

-- Every question, also those that were closed: a run that is cleared asks the same again, each in its place.
CREATE TABLE IF NOT EXISTS FRAUD.QUESTIONS (
  QUESTION_ID VARCHAR(300) NOT NULL COMMENT 'run and number of the question, which is the map index of the task that asks',
  CASE_ID VARCHAR(64) NOT NULL COMMENT 'customer and day: C000123-20261124',
  DAG_ID VARCHAR(256) NOT NULL COMMENT 'DAG of the run that asks',
  RUN_ID VARCHAR(256) NOT NULL COMMENT 'that run',
  ASKED_AT TIMESTAMP_TZ(6) NOT NULL COMMENT 'when people were asked',
  ASKED_UNTIL TIMESTAMP_TZ(6) NOT NULL COMMENT 'an answer was not expected any more after this',
  SEVERITY VARCHAR(8) NOT NULL COMMENT 'of the case when it was asked about',
  PRIMARY KEY (QUESTION_ID, CASE_ID)
) COMMENT = 'Which question was about which cases';
-- Whoever has cases from before this table: of each its last question.
MERGE INTO FRAUD.QUESTIONS AS t USING (SELECT * FROM FRAUD.CASES WHERE ASKED_AT IS NOT NULL) AS s
ON t.QUESTION_ID = s.QUESTION_ID AND t.CASE_ID = s.CASE_ID
WHEN NOT MATCHED THEN INSERT (QUESTION_ID, CASE_ID, DAG_ID, RUN_ID, ASKED_AT, ASKED_UNTIL, SEVERITY)
VALUES (s.QUESTION_ID, s.CASE_ID, s.ASKED_DAG_ID, s.ASKED_RUN_ID, s.ASKED_AT, s.ASKED_UNTIL, s.ASKED_SEVERITY);

-- Every decision, also those that a later one has overtaken.
CREATE TABLE IF NOT EXISTS FRAUD.DECISIONS (
  QUESTION_ID VARCHAR(300) NOT NULL COMMENT 'run and number of the question',
  CASE_ID VARCHAR(64) NOT NULL COMMENT 'customer and day: C000123-20261124',
  CUSTOMER_ID VARCHAR(16) NOT NULL COMMENT 'customer',
  DECISION VARCHAR(16) NOT NULL COMMENT 'blocked, released, unanswered',
  DECIDED_BY VARCHAR(256) COMMENT 'empty when the time to answer ran out',
  DECIDED_AT TIMESTAMP_TZ(6) NOT NULL COMMENT 'when that was',
  NOTE VARCHAR(2048) COMMENT 'what the person wrote',
  SEVERITY VARCHAR(8) NOT NULL COMMENT 'of the case when it was asked about',
  PRIMARY KEY (QUESTION_ID, CASE_ID)
) COMMENT = 'Who decided what about which case, and when';

CREATE TABLE IF NOT EXISTS FRAUD.BLOCKED_ACCOUNTS (
  CUSTOMER_ID VARCHAR(16) NOT NULL COMMENT 'customer',
  CASE_ID VARCHAR(64) NOT NULL COMMENT 'the case that led to it',
  BLOCKED_BY VARCHAR(256) COMMENT 'who decided so',
  BLOCKED_AT TIMESTAMP_TZ(6) NOT NULL COMMENT 'when that was',
  PRIMARY KEY (CUSTOMER_ID)
) COMMENT = 'Accounts that may not order';

-- What people found out: the truth that rules and models are judged by.
CREATE TABLE IF NOT EXISTS FRAUD.LABELS (
  ALERT_ID VARCHAR(64) NOT NULL COMMENT 'alert',
  CASE_ID VARCHAR(64) NOT NULL COMMENT 'customer and day: C000123-20261124',
  CUSTOMER_ID VARCHAR(16) NOT NULL COMMENT 'customer',
  TRANSACTION_ID VARCHAR(64) NOT NULL COMMENT 'payment (EVENT_ID of transactions)',
  RULE VARCHAR(32) NOT NULL COMMENT 'rule that fired',
  RULE_VERSION VARCHAR(16) COMMENT 'version of the rules',
  LABEL VARCHAR(16) NOT NULL COMMENT 'fraud, legitimate',
  LABELLED_BY VARCHAR(256) COMMENT 'who decided so',
  LABELLED_AT TIMESTAMP_TZ(6) NOT NULL COMMENT 'when that was',
  PRIMARY KEY (ALERT_ID)
) COMMENT = 'Alerts of decided cases, confirmed or not';
