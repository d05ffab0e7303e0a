CREATE OR REPLACE VIEW MARTS.FUNNEL_PER_HOUR (
  HOUR COMMENT 'of the first event of the session, UTC',
  SESSIONS COMMENT 'with a click, a search or a payment',
  SEARCHED COMMENT 'of those: with a search',
  CLICKED COMMENT 'of those that searched: that looked at a product after it, or clicked a result',
  PURCHASED COMMENT 'of those that clicked: with an authorized payment after the search',
  CLICK_PERCENT COMMENT 'clicked of searched',
  PURCHASE_PERCENT COMMENT 'purchased of clicked'
) COMMENT = 'Search, click, purchase: how many sessions come how far' AS
SELECT
  HOUR, SESSIONS, SEARCHED, CLICKED, PURCHASED,
  100.0 * CLICKED / NULLIF(SEARCHED, 0), 100.0 * PURCHASED / NULLIF(CLICKED, 0)
FROM RECO.FUNNEL_HOURS
WHERE SESSIONS > 0;
