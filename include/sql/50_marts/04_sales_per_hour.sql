-- Filled by the DAG sales_per_hour, an hour at a time.
CREATE TABLE IF NOT EXISTS MARTS.SALES_PER_HOUR (
  HOUR TIMESTAMP_TZ(6) NOT NULL COMMENT 'of the payment, UTC',
  CURRENCY VARCHAR(3) NOT NULL COMMENT 'ISO 4217 code',
  MERCHANT_CATEGORY VARCHAR(64) NOT NULL COMMENT 'what the merchant sells',
  AUTHORIZED NUMBER(18,0) NOT NULL COMMENT 'payments',
  DECLINED NUMBER(18,0) NOT NULL COMMENT 'payments',
  SALES NUMBER(18,2) NOT NULL COMMENT 'sum of the authorized payments',
  CUSTOMERS NUMBER(18,0) NOT NULL COMMENT 'distinct',
  COMPUTED_AT TIMESTAMP_TZ(6) NOT NULL COMMENT 'when it was computed'
) COMMENT = 'Payments by hour, currency and merchant category';
