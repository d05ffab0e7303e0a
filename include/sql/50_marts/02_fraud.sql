CREATE OR REPLACE VIEW MARTS.FRAUD_RATE (
  HOUR COMMENT 'of the payment, UTC',
  CURRENCY COMMENT 'ISO 4217 code',
  PAYMENTS COMMENT 'payments',
  ALERTED_PAYMENTS COMMENT 'payments with at least one alert',
  AMOUNT COMMENT 'sum of the payments, in CURRENCY',
  ALERTED_AMOUNT COMMENT 'sum of the payments with an alert, in CURRENCY',
  ALERTED_PERCENT COMMENT 'alerted payments, percent of the payments'
) COMMENT = 'Share of payments and of money with an alert, by hour' AS
WITH hours AS (
  SELECT HOUR, CURRENCY, PAYMENTS, ALERTED_PAYMENTS, AMOUNT, ALERTED_AMOUNT FROM ROLLUPS.FRAUD_RATE
  UNION ALL
  SELECT HOUR, CURRENCY, PAYMENTS, ALERTED_PAYMENTS, AMOUNT, ALERTED_AMOUNT FROM ROLLUPS.FRAUD_RATE_OPEN
)
SELECT
  HOUR, CURRENCY, PAYMENTS, ALERTED_PAYMENTS, AMOUNT, ALERTED_AMOUNT,
  100.0 * ALERTED_PAYMENTS / PAYMENTS AS ALERTED_PERCENT
FROM hours;

CREATE OR REPLACE VIEW MARTS.ALERTS_PER_RULE (
  DAY COMMENT 'of the alert, UTC',
  RULE COMMENT 'rule that fired',
  SEVERITY COMMENT 'low, medium, high, critical',
  ALERTS COMMENT 'alerts',
  CUSTOMERS COMMENT 'distinct on this day, by rule and severity: a sum counts people twice',
  AVERAGE_SCORE COMMENT 'mean of the alerts'' scores, 0 to 1'
) COMMENT = 'Alerts by day, rule and severity' AS
SELECT
  DATE_TRUNC('day', ALERT_TIME) AS DAY,
  RULE,
  SEVERITY,
  COUNT(*) AS ALERTS,
  COUNT(DISTINCT CUSTOMER_ID) AS CUSTOMERS,
  AVG(SCORE) AS AVERAGE_SCORE
FROM CORE.FRAUD_ALERTS
GROUP BY DATE_TRUNC('day', ALERT_TIME), RULE, SEVERITY;

-- Saved is what a person cancelled and the bank had authorized: a declined payment costs nobody anything.
CREATE OR REPLACE VIEW MARTS.FRAUD_MONEY (
  DAY COMMENT 'of the payment, UTC',
  CURRENCY COMMENT 'ISO 4217 code',
  ALERTED_AMOUNT COMMENT 'payments with an alert, in CURRENCY',
  HELD_AMOUNT COMMENT 'orders that were ever held, in CURRENCY',
  BLOCKED_AMOUNT COMMENT 'held orders that a person cancelled, in CURRENCY',
  SAVED_AMOUNT COMMENT 'of the cancelled ones, those that the bank had authorized, in CURRENCY',
  RELEASED_AMOUNT COMMENT 'held orders that were released, in CURRENCY'
) COMMENT = 'Money in alerted payments and what became of it, by day of the payment and currency' AS
WITH alerted AS (
  SELECT TRANSACTION_ID, MIN(EVENT_TIME) AS EVENT_TIME, MAX(AMOUNT) AS AMOUNT, MIN(CURRENCY) AS CURRENCY
  FROM CORE.FRAUD_ALERTS
  GROUP BY TRANSACTION_ID
),
money AS (
  SELECT
    COALESCE(h.EVENT_TIME, a.EVENT_TIME) AS EVENT_TIME,
    COALESCE(h.CURRENCY, a.CURRENCY) AS CURRENCY,
    COALESCE(a.AMOUNT, 0) AS ALERTED_AMOUNT,
    COALESCE(h.AMOUNT, 0) AS HELD_AMOUNT,
    h.STATE,
    COALESCE(h.TRANSACTION_ID, a.TRANSACTION_ID) AS TRANSACTION_ID
  FROM alerted AS a
  FULL OUTER JOIN FRAUD.ORDER_HOLDS AS h ON h.TRANSACTION_ID = a.TRANSACTION_ID
),
payments AS (
  SELECT EVENT_ID, MAX_BY(STATUS, EVENT_TIME) AS STATUS
  FROM RAW.TRANSACTIONS
  WHERE EVENT_ID IN (SELECT TRANSACTION_ID FROM money)
  GROUP BY EVENT_ID
)
SELECT
  DATE_TRUNC('day', m.EVENT_TIME) AS DAY,
  m.CURRENCY,
  SUM(m.ALERTED_AMOUNT) AS ALERTED_AMOUNT,
  SUM(m.HELD_AMOUNT) AS HELD_AMOUNT,
  SUM(IFF(m.STATE = 'cancelled', m.HELD_AMOUNT, 0)) AS BLOCKED_AMOUNT,
  SUM(IFF(m.STATE = 'cancelled' AND t.STATUS = 'authorized', m.HELD_AMOUNT, 0)) AS SAVED_AMOUNT,
  SUM(IFF(m.STATE = 'released', m.HELD_AMOUNT, 0)) AS RELEASED_AMOUNT
FROM money AS m
LEFT JOIN payments AS t ON t.EVENT_ID = m.TRANSACTION_ID
GROUP BY DATE_TRUNC('day', m.EVENT_TIME), m.CURRENCY;

CREATE OR REPLACE VIEW MARTS.FRAUD_BY_COUNTRY (
  COUNTRY COMMENT 'of the payment, ISO 3166-1, two letters',
  PAYMENTS COMMENT 'payments with an alert',
  ALERTS COMMENT 'alerts',
  CASES COMMENT 'cases whose last alert was there'
) COMMENT = 'Alerted payments, alerts and cases by country of the payment' AS
WITH payments AS (
  SELECT TRANSACTION_ID, MIN(COUNTRY) AS COUNTRY, COUNT(*) AS ALERTS
  FROM CORE.FRAUD_ALERTS
  GROUP BY TRANSACTION_ID
),
cases AS (SELECT COUNTRY, COUNT(*) AS CASES FROM FRAUD.CASES GROUP BY COUNTRY),
alerts AS (SELECT COUNTRY, COUNT(*) AS PAYMENTS, SUM(ALERTS) AS ALERTS FROM payments GROUP BY COUNTRY)
SELECT a.COUNTRY, a.PAYMENTS, a.ALERTS, COALESCE(c.CASES, 0) AS CASES
FROM alerts AS a
LEFT JOIN cases AS c ON c.COUNTRY = a.COUNTRY;

CREATE OR REPLACE VIEW MARTS.TIME_TO_ALERT (
  MINUTE COMMENT 'of the alert, UTC',
  ALERTS COMMENT 'alerts',
  P50_SECONDS COMMENT 'from payment to alert, median, seconds',
  P95_SECONDS COMMENT 'from payment to alert, 95th percentile, seconds'
) COMMENT = 'Seconds from a payment to its alert, by minute of the alert' AS
SELECT
  DATE_TRUNC('minute', ALERT_TIME) AS MINUTE,
  COUNT(*) AS ALERTS,
  APPROX_PERCENTILE(DATEDIFF('millisecond', EVENT_TIME, ALERT_TIME) / 1000, 0.5) AS P50_SECONDS,
  APPROX_PERCENTILE(DATEDIFF('millisecond', EVENT_TIME, ALERT_TIME) / 1000, 0.95) AS P95_SECONDS
FROM CORE.FRAUD_ALERTS
GROUP BY DATE_TRUNC('minute', ALERT_TIME);

CREATE OR REPLACE VIEW MARTS.FRAUD_CASES (
  CASE_ID COMMENT 'customer and day: C000123-20261124',
  CUSTOMER_ID COMMENT 'customer',
  OPENED_AT COMMENT 'time of the first alert',
  SEVERITY COMMENT 'of the most severe alert',
  RULES COMMENT 'rules that fired, comma-separated',
  ALERTS COMMENT 'number of alerts',
  AMOUNT COMMENT 'sum over the payments that raised alerts, in CURRENCY',
  CURRENCY COMMENT 'ISO 4217 code',
  COUNTRY COMMENT 'of the last alert, ISO 3166-1, two letters',
  STATUS COMMENT 'open, held, asked, blocked, released, unanswered',
  DECIDED_BY COMMENT 'who blocked or released; empty: nobody has, or in time',
  DECIDED_AT COMMENT 'when that was',
  DAG_ID COMMENT 'of the run that asks, else of the one that opened the case',
  RUN_ID COMMENT 'that run',
  MAX_SCORE COMMENT 'of the most certain alert, 0 to 1',
  REASON COMMENT 'of the most certain alert: whoever sends events may have written it',
  TRANSACTIONS_30D COMMENT 'payments in the 30 days before the case',
  DEVICES_30D COMMENT 'devices of those payments',
  SPEND_30D COMMENT 'sum of those that were authorized',
  OPEN_ORDERS COMMENT 'authorized payments since the first payment with an alert',
  OPEN_AMOUNT COMMENT 'sum of those',
  ASKED_AT COMMENT 'when people were asked; empty: they were not',
  ASKED_UNTIL COMMENT 'an answer is not expected any more after this',
  NOTE COMMENT 'what the person who decided wrote'
) COMMENT = 'Cases, what was decided, and the Airflow run to look at: the one that asks, else the one that opened it' AS
SELECT
  CASE_ID, CUSTOMER_ID, OPENED_AT, SEVERITY, RULES, ALERTS, AMOUNT, CURRENCY, COUNTRY, STATUS, DECIDED_BY, DECIDED_AT,
  COALESCE(ASKED_DAG_ID, DAG_ID) AS DAG_ID,
  COALESCE(ASKED_RUN_ID, RUN_ID) AS RUN_ID,
  MAX_SCORE, REASON, TRANSACTIONS_30D, DEVICES_30D, SPEND_30D, OPEN_ORDERS, OPEN_AMOUNT, ASKED_AT, ASKED_UNTIL, NOTE
FROM FRAUD.CASES;
