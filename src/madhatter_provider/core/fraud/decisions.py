"""What follows from a person's answer about a question's cases.

Steps, each safe to repeat:

1. The decision is noted for every case of the question that still waits for it.
2. Blocked: the account is blocked; the customer's authorized payments since the first alert are cancelled.
3. The cases get their new status. An alert that joins from now on is treated as the case was decided; one
   that joined before is met by the next steps: none falls in between.
4. Orders that were held are cancelled or released. Without an answer they stay held.
5. Alerts become labels: blocked means fraud, released means legitimate. Without an answer there is none.

A case that was closed in the meantime is not touched: step 1 takes only what this question asked about.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from madhatter_provider.core.fraud.cases import close_holds
from madhatter_provider.core.warehouse.sql_client import Sql

Verdict = Literal["blocked", "released", "unanswered"]


@dataclass(frozen=True, slots=True)
class Decision:
    """An answer. ``decided_by`` is empty when the time to answer ran out."""

    question_id: str
    verdict: Verdict
    decided_by: str | None
    decided_at: datetime
    note: str = ""


def record_decision(sql: Sql, decision: Decision) -> int:
    """All steps; returns the number of cases that the question has decided, now or before."""
    question, note = decision.question_id, " ".join(decision.note.split())[:2048] or None
    sql.execute(_NOTE, [decision.verdict, decision.decided_by, decision.decided_at, note, question])
    for statement in (_BLOCK, _CANCEL_OPEN_ORDERS, _CLOSE_CASES):
        sql.execute(statement, [question])
    rows = sql.execute("SELECT CASE_ID FROM FRAUD.DECISIONS WHERE QUESTION_ID = ?", [question])
    if rows:
        sql.execute(*close_holds([str(r["CASE_ID"]) for r in rows]))
    sql.execute(_LABEL, [question])
    return len(rows)


_NOTE = """
MERGE INTO FRAUD.DECISIONS AS t USING (
  SELECT QUESTION_ID, CASE_ID, CUSTOMER_ID, ASKED_SEVERITY, ? AS DECISION, ? AS DECIDED_BY, ? AS DECIDED_AT,
    ? AS REMARK
  FROM FRAUD.CASES
  WHERE QUESTION_ID = ? AND STATUS = 'asked'
) AS s ON t.QUESTION_ID = s.QUESTION_ID AND t.CASE_ID = s.CASE_ID
WHEN NOT MATCHED THEN INSERT
  (QUESTION_ID, CASE_ID, CUSTOMER_ID, DECISION, DECIDED_BY, DECIDED_AT, NOTE, SEVERITY)
VALUES
  (s.QUESTION_ID, s.CASE_ID, s.CUSTOMER_ID, s.DECISION, s.DECIDED_BY, s.DECIDED_AT, s.REMARK,
    s.ASKED_SEVERITY)
"""
_BLOCK = """
MERGE INTO FRAUD.BLOCKED_ACCOUNTS AS t USING (
  SELECT CUSTOMER_ID, MIN(CASE_ID) AS CASE_ID, MIN(DECIDED_BY) AS DECIDED_BY, MIN(DECIDED_AT) AS DECIDED_AT
  FROM FRAUD.DECISIONS
  WHERE QUESTION_ID = ? AND DECISION = 'blocked'
  GROUP BY CUSTOMER_ID
) AS s ON t.CUSTOMER_ID = s.CUSTOMER_ID
WHEN NOT MATCHED THEN INSERT (CUSTOMER_ID, CASE_ID, BLOCKED_BY, BLOCKED_AT)
VALUES (s.CUSTOMER_ID, s.CASE_ID, s.DECIDED_BY, s.DECIDED_AT)
"""
_CANCEL_OPEN_ORDERS = """
MERGE INTO FRAUD.ORDER_HOLDS AS t USING (
  SELECT p.EVENT_ID, MIN(b.CASE_ID) AS CASE_ID, MIN(p.CUSTOMER_ID) AS CUSTOMER_ID,
    MIN(p.EVENT_TIME) AS EVENT_TIME, MIN(p.AMOUNT) AS AMOUNT, MIN(p.CURRENCY) AS CURRENCY,
    MIN(b.DECIDED_AT) AS DECIDED_AT
  FROM CORE.TRANSACTIONS AS p
  JOIN (
    SELECT d.CASE_ID, d.CUSTOMER_ID, d.DECIDED_AT, MIN(a.EVENT_TIME) AS SINCE
    FROM FRAUD.DECISIONS AS d
    JOIN FRAUD.CASE_ALERTS AS a ON a.CASE_ID = d.CASE_ID
    WHERE d.QUESTION_ID = ? AND d.DECISION = 'blocked'
    GROUP BY d.CASE_ID, d.CUSTOMER_ID, d.DECIDED_AT
  ) AS b ON b.CUSTOMER_ID = p.CUSTOMER_ID AND p.EVENT_TIME >= b.SINCE
  WHERE p.STATUS = 'authorized'
  GROUP BY p.EVENT_ID
) AS s ON t.TRANSACTION_ID = s.EVENT_ID
WHEN NOT MATCHED THEN INSERT
  (TRANSACTION_ID, CASE_ID, CUSTOMER_ID, EVENT_TIME, AMOUNT, CURRENCY, STATE, HELD_AT, CLOSED_AT)
VALUES (s.EVENT_ID, s.CASE_ID, s.CUSTOMER_ID, s.EVENT_TIME, s.AMOUNT, s.CURRENCY, 'cancelled', s.DECIDED_AT,
  s.DECIDED_AT)
"""
_LABEL = """
MERGE INTO FRAUD.LABELS AS t USING (
  SELECT a.ALERT_ID, a.CASE_ID, a.CUSTOMER_ID, a.TRANSACTION_ID, a.RULE, a.RULE_VERSION,
    d.DECIDED_BY, d.DECIDED_AT, IFF(d.DECISION = 'blocked', 'fraud', 'legitimate') AS LABEL
  FROM FRAUD.DECISIONS AS d
  JOIN FRAUD.CASE_ALERTS AS a ON a.CASE_ID = d.CASE_ID
  WHERE d.QUESTION_ID = ? AND d.DECISION IN ('blocked', 'released')
) AS s ON t.ALERT_ID = s.ALERT_ID
WHEN MATCHED AND t.LABELLED_AT < s.DECIDED_AT THEN UPDATE
  SET LABEL = s.LABEL, LABELLED_BY = s.DECIDED_BY, LABELLED_AT = s.DECIDED_AT
WHEN NOT MATCHED THEN INSERT
  (ALERT_ID, CASE_ID, CUSTOMER_ID, TRANSACTION_ID, RULE, RULE_VERSION, LABEL, LABELLED_BY, LABELLED_AT)
VALUES (s.ALERT_ID, s.CASE_ID, s.CUSTOMER_ID, s.TRANSACTION_ID, s.RULE, s.RULE_VERSION, s.LABEL, s.DECIDED_BY,
  s.DECIDED_AT)
"""
_CLOSE_CASES = """
MERGE INTO FRAUD.CASES AS t USING (SELECT * FROM FRAUD.DECISIONS WHERE QUESTION_ID = ?) AS s
ON t.CASE_ID = s.CASE_ID
WHEN MATCHED AND t.STATUS = 'asked' AND t.QUESTION_ID = s.QUESTION_ID THEN UPDATE
  SET STATUS = s.DECISION, DECIDED_BY = s.DECIDED_BY, DECIDED_AT = s.DECIDED_AT, NOTE = s.NOTE,
    UPDATED_AT = CURRENT_TIMESTAMP()
"""
