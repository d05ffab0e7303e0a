-- A gap is a range that begins behind the furthest end before it. Looking for gaps needs all ranges in order, which is
-- slow, so only partitions are searched whose ranges do not tile: in a tiling every start but the first is the end of
-- another range, so both sums of hashes agree; and where they agree, every offset between the first and the last is
-- covered exactly once.
CREATE OR REPLACE VIEW OPS.STREAM_SUMMARY (
  STREAM COMMENT 'name of the stream',
  TOPIC COMMENT 'Kafka topic, as claimed last',
  TOPIC_ID COMMENT 'of the newest epoch',
  DAG_ID COMMENT 'that landed it last; empty: only replays did',
  PARTITIONS COMMENT 'partitions with a range',
  RANGES COMMENT 'offset ranges',
  CLAIMED COMMENT 'partition:first unclaimed offset, comma-separated, of the newest epoch',
  NEWEST_EVENT COMMENT 'newest event time',
  LAST_LOAD COMMENT 'when a range was loaded last',
  ROWS_LOADED COMMENT 'rows, of all time',
  ROWS_QUARANTINED COMMENT 'rows, of all time',
  ROWS_10M COMMENT 'rows loaded in the last ten minutes',
  UNFINISHED COMMENT 'ranges claimed or landed, not loaded',
  LATE COMMENT 'those that were claimed more than ten minutes ago',
  LOST COMMENT 'ranges lost, not acknowledged',
  FAILED_GATES COMMENT 'ranges that failed the fast or the deep gate',
  GAPS COMMENT 'in which no range lies',
  SEVERITY COMMENT '2: a gap, a loss or a failed gate; 1: late; 0: in order'
) COMMENT = 'The ledger by stream' AS
WITH partitions AS (
  SELECT
    STREAM, TOPIC_ID, PARTITION_ID,
    MAX_BY(TOPIC, CLAIMED_AT) AS TOPIC,
    MAX_BY(DAG_ID, IFF(DAG_ID = 'replay', NULL, CLAIMED_AT)) AS DAG_ID,
    MAX(CLAIMED_AT) AS LAST_CLAIM,
    MAX(IFF(DAG_ID = 'replay', NULL, CLAIMED_AT)) AS LAST_OWN_CLAIM,
    MAX(END_OFFSET) AS LAST_OFFSET,
    COUNT(*) AS RANGES,
    MAX(MAX_EVENT_TIME) AS NEWEST_EVENT,
    MAX(LOADED_AT) AS LAST_LOAD,
    SUM(ROWS_LOADED) AS ROWS_LOADED,
    SUM(ROWS_QUARANTINED) AS ROWS_QUARANTINED,
    SUM(IFF(LOADED_AT >= DATEADD('minute', -10, CURRENT_TIMESTAMP()), ROWS_LOADED, 0)) AS ROWS_10M,
    COUNT_IF(STATE IN ('claimed', 'landed')) AS UNFINISHED,
    COUNT_IF(
      STATE IN ('claimed', 'landed') AND CLAIMED_AT < DATEADD('minute', -10, CURRENT_TIMESTAMP())
    ) AS LATE,
    COUNT_IF(STATE = 'lost' AND ACKNOWLEDGED_AT IS NULL) AS LOST,
    COUNT_IF(GATE = 'fail' OR DEEP_GATE = 'fail') AS FAILED_GATES,
    SUM(HASH(START_OFFSET)) - HASH(MIN(START_OFFSET)) = SUM(HASH(END_OFFSET)) - HASH(MAX(END_OFFSET)) AS TILES
  FROM OPS.SLICES
  GROUP BY STREAM, TOPIC_ID, PARTITION_ID
),
torn AS (SELECT STREAM, TOPIC_ID, PARTITION_ID FROM partitions WHERE NOT TILES),
gaps AS (
  SELECT STREAM, COUNT_IF(START_OFFSET > PREVIOUS_END) AS GAPS
  FROM (
    SELECT s.STREAM, s.START_OFFSET, MAX(s.END_OFFSET) OVER (
      PARTITION BY s.STREAM, s.TOPIC_ID, s.PARTITION_ID ORDER BY s.START_OFFSET, s.END_OFFSET
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS PREVIOUS_END
    FROM OPS.SLICES AS s
    JOIN torn AS t ON t.STREAM = s.STREAM AND t.TOPIC_ID = s.TOPIC_ID AND t.PARTITION_ID = s.PARTITION_ID
  ) AS ranges
  GROUP BY STREAM
),
epochs AS (
  SELECT *, FIRST_VALUE(TOPIC_ID) OVER (PARTITION BY STREAM ORDER BY LAST_CLAIM DESC, TOPIC_ID) AS NEWEST_EPOCH
  FROM partitions
),
streams AS (
  SELECT
    STREAM,
    MAX_BY(TOPIC, LAST_CLAIM) AS TOPIC,
    MAX(NEWEST_EPOCH) AS NEWEST_EPOCH,
    MAX_BY(DAG_ID, LAST_OWN_CLAIM) AS DAG_ID,
    COUNT(DISTINCT PARTITION_ID) AS PARTITIONS,
    SUM(RANGES) AS RANGES,
    LISTAGG(IFF(TOPIC_ID = NEWEST_EPOCH, PARTITION_ID || ':' || LAST_OFFSET, NULL), ',') AS CLAIMED,
    MAX(NEWEST_EVENT) AS NEWEST_EVENT,
    MAX(LAST_LOAD) AS LAST_LOAD,
    SUM(ROWS_LOADED) AS ROWS_LOADED,
    SUM(ROWS_QUARANTINED) AS ROWS_QUARANTINED,
    SUM(ROWS_10M) AS ROWS_10M,
    SUM(UNFINISHED) AS UNFINISHED,
    SUM(LATE) AS LATE,
    SUM(LOST) AS LOST,
    SUM(FAILED_GATES) AS FAILED_GATES
  FROM epochs
  GROUP BY STREAM
)
SELECT
  s.STREAM, s.TOPIC, s.NEWEST_EPOCH, s.DAG_ID, s.PARTITIONS, s.RANGES, s.CLAIMED, s.NEWEST_EVENT, s.LAST_LOAD,
  s.ROWS_LOADED, s.ROWS_QUARANTINED, s.ROWS_10M, s.UNFINISHED, s.LATE, s.LOST, s.FAILED_GATES, COALESCE(g.GAPS, 0),
  CASE WHEN s.LOST + COALESCE(g.GAPS, 0) + s.FAILED_GATES > 0 THEN 2 WHEN s.LATE > 0 THEN 1 ELSE 0 END
FROM streams AS s
LEFT JOIN gaps AS g ON g.STREAM = s.STREAM;

CREATE OR REPLACE VIEW OPS.STREAM_LOADS (
  STREAM COMMENT 'name of the stream',
  LOADS COMMENT 'minutes ago:rows loaded, comma-separated, of the last thirty minutes'
) COMMENT = 'Rows loaded in each of the last thirty minutes, by stream' AS
WITH minutes AS (
  SELECT STREAM, DATEDIFF('minute', LOADED_AT, CURRENT_TIMESTAMP()) AS MINUTES_AGO, SUM(ROWS_LOADED) AS ROWS_LOADED
  FROM OPS.SLICES
  WHERE LOADED_AT >= DATEADD('minute', -30, CURRENT_TIMESTAMP())
  GROUP BY STREAM, DATEDIFF('minute', LOADED_AT, CURRENT_TIMESTAMP())
)
SELECT STREAM, LISTAGG(MINUTES_AGO || ':' || ROWS_LOADED::NUMBER(38,0), ',')
FROM minutes
GROUP BY STREAM;
