CREATE OR REPLACE VIEW MARTS.RECOMMENDATION_LIFT (
  EVALUATED_AT COMMENT 'when a refresh measured',
  SESSIONS COMMENT 'sessions of the last day that nothing is learned from',
  HIT_RATE_AT_10 COMMENT 'share of them whose next product was among the first ten recommended',
  POPULARITY_HIT_RATE_AT_10 COMMENT 'the same for the ten most popular products',
  LIFT COMMENT 'ratio of the two; empty while popularity has no hit',
  COVERAGE COMMENT 'share of all products that are among the first ten of some list'
) COMMENT = 'Quality of the recommendations by refresh' AS
SELECT
  EVALUATED_AT, SESSIONS, HITS / SESSIONS, POPULARITY_HITS / SESSIONS, HITS / NULLIF(POPULARITY_HITS, 0),
  PRODUCTS_RECOMMENDED / NULLIF(PRODUCTS, 0)
FROM RECO.QUALITY;

CREATE OR REPLACE VIEW MARTS.TRENDING_PRODUCTS (
  POSITION COMMENT '1 to 100',
  PRODUCT_ID COMMENT 'product',
  PRODUCT_CATEGORY COMMENT 'as people searched for it; empty where nobody did',
  SCORE COMMENT 'interest of the last 24 hours, newest most, against that of the week before',
  EVENTS COMMENT 'looks, clicks on search results and carts of the last 24 hours, in the sessions that are learned from'
) COMMENT = 'Products that more people look at than usual' AS
SELECT t.POSITION, t.PRODUCT_ID, p.PRODUCT_CATEGORY, t.SCORE, t.EVENTS
FROM RECO.TRENDING AS t
LEFT JOIN RECO.PRODUCTS AS p ON p.PRODUCT_ID = t.PRODUCT_ID;

CREATE OR REPLACE VIEW MARTS.RECOMMENDATIONS_PER_CUSTOMER (
  CUSTOMER_ID COMMENT 'customer',
  POSITION COMMENT '1 is the best, up to 20',
  PRODUCT_ID COMMENT 'product',
  SCORE COMMENT 'comparable within a list only',
  REASON COMMENT 'what speaks for it most: product, query or bought category of the customer, or trending',
  COMPUTED_AT COMMENT 'when it was computed'
) COMMENT = 'The products to show to a customer' AS
SELECT CUSTOMER_ID, POSITION, PRODUCT_ID, SCORE, REASON, COMPUTED_AT
FROM RECO.RECOMMENDATIONS;
