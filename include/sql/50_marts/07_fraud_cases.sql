CREATE OR REPLACE VIEW MARTS.FRAUD_CASE_ALERTS (
  CASE_ID COMMENT 'customer and day: C000123-20261124',
  ALERT_ID COMMENT 'alert',
  ALERT_TIME COMMENT 'when the alert was raised',
  EVENT_TIME COMMENT 'time of the payment',
  TRANSACTION_ID COMMENT 'payment (EVENT_ID of transactions)',
  RULE COMMENT 'rule that fired',
  RULE_VERSION COMMENT 'version of the rules',
  SEVERITY COMMENT 'low, medium, high, critical',
  SCORE COMMENT 'how certain the rule is, 0 to 1',
  AMOUNT COMMENT 'of the payment, in CURRENCY',
  CURRENCY COMMENT 'ISO 4217 code',
  COUNTRY COMMENT 'of the payment, ISO 3166-1, two letters',
  REASON COMMENT 'text of the alert: whoever sends events may have written it',
  ORDER_STATE COMMENT 'held, cancelled, released; empty: the order was never held',
  LABEL COMMENT 'fraud, legitimate; empty: nobody has decided'
) COMMENT = 'Alerts of fraud cases, and what became of the payments' AS
SELECT
  a.CASE_ID, a.ALERT_ID, a.ALERT_TIME, a.EVENT_TIME, a.TRANSACTION_ID, a.RULE, a.RULE_VERSION, a.SEVERITY, a.SCORE,
  a.AMOUNT, a.CURRENCY, a.COUNTRY, a.REASON, h.STATE, l.LABEL
FROM FRAUD.CASE_ALERTS AS a
LEFT JOIN FRAUD.ORDER_HOLDS AS h ON h.TRANSACTION_ID = a.TRANSACTION_ID
LEFT JOIN FRAUD.LABELS AS l ON l.ALERT_ID = a.ALERT_ID;

-- QUESTION_ID is the run and the number of the question, which is the map index of the task that asks.
CREATE OR REPLACE VIEW MARTS.FRAUD_CASE_STEPS (
  CASE_ID COMMENT 'customer and day: C000123-20261124',
  DONE_AT COMMENT 'when',
  STEP COMMENT 'opened, held, asked, blocked, released, unanswered, account blocked, orders cancelled, orders released',
  DONE_BY COMMENT 'the person; empty: the DAG by itself',
  ORDERS COMMENT 'orders held, cancelled or released',
  AMOUNT COMMENT 'of those orders',
  CURRENCY COMMENT 'of the amount',
  ASKED_UNTIL COMMENT 'an answer is not expected any more after this',
  NOTE COMMENT 'what the person who decided wrote',
  DAG_ID COMMENT 'of the run that opened the case or asks about it',
  RUN_ID COMMENT 'that run',
  TASK_ID COMMENT 'the task that asks',
  MAP_INDEX COMMENT 'of that task'
) COMMENT = 'What was done about fraud cases, step by step' AS
SELECT
  CASE_ID, OPENED_AT, 'opened', NULL::VARCHAR, NULL::NUMBER, NULL::NUMBER(14,2), NULL::VARCHAR, NULL::TIMESTAMP_TZ,
  NULL::VARCHAR, DAG_ID, RUN_ID, NULL::VARCHAR, NULL::NUMBER
FROM FRAUD.CASES
UNION ALL
SELECT CASE_ID, MIN(HELD_AT), 'held', NULL, COUNT(*), SUM(AMOUNT), CURRENCY, NULL, NULL, NULL, NULL, NULL, NULL
FROM FRAUD.ORDER_HOLDS
WHERE CLOSED_AT IS NULL OR CLOSED_AT > HELD_AT
GROUP BY CASE_ID, CURRENCY
UNION ALL
SELECT
  CASE_ID, ASKED_AT, 'asked', NULL, NULL, NULL, NULL, ASKED_UNTIL, NULL, DAG_ID, RUN_ID, 'question.block',
  TRY_TO_NUMBER(SPLIT_PART(QUESTION_ID, '#', -1))
FROM FRAUD.QUESTIONS
UNION ALL
SELECT CASE_ID, DECIDED_AT, DECISION, DECIDED_BY, NULL, NULL, NULL, NULL, NOTE, NULL, NULL, NULL, NULL
FROM FRAUD.DECISIONS
UNION ALL
SELECT CASE_ID, BLOCKED_AT, 'account blocked', BLOCKED_BY, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM FRAUD.BLOCKED_ACCOUNTS
UNION ALL
SELECT CASE_ID, CLOSED_AT, 'orders ' || STATE, NULL, COUNT(*), SUM(AMOUNT), CURRENCY, NULL, NULL, NULL, NULL, NULL, NULL
FROM FRAUD.ORDER_HOLDS
WHERE CLOSED_AT IS NOT NULL
GROUP BY CASE_ID, STATE, CLOSED_AT, CURRENCY;
