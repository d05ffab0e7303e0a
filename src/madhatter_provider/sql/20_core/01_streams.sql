-- per contract: one row per primary key, the newest message of it
CREATE OR REPLACE VIEW CORE.{{ table }} (
{{ commented_columns }}
) COMMENT = 'Stream {{ stream }} without duplicates' AS
SELECT {{ columns }}, {{ coordinates }}
FROM RAW.{{ table }}
QUALIFY ROW_NUMBER() OVER (PARTITION BY {{ primary_key }} ORDER BY _TIMESTAMP DESC, _OFFSET DESC) = 1;
