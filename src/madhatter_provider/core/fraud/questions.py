"""Which cases a person is asked about, in how many questions, and in which words.

A question is one task of a run of the DAG that asks. Its cases carry the question's id and the time until an
answer is expected; after that they may be asked about again. :func:`take_questions`:

1. A run that has taken questions before gets the same again, each in its place, those that were answered as
   closed: Airflow keeps what was asked and answered by the place of the task, also when a run is cleared.
2. Else it takes cases of ``FRAUD.CASES_TO_ASK``, the gravest first, for as many questions as may still wait
   for people. A few cases get a question each. When there are more cases than that, those with the same
   rules share one: a flood of alerts must not make hundreds of questions.
3. What was asked is noted in ``FRAUD.QUESTIONS``, for step 1.

What does not fit waits for a later run; its orders are held meanwhile. A case that nobody answered in time
is asked about again when somebody wishes it: ``Asking.again``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.fraud.rules import RULE_VERSION
from madhatter_provider.core.fraud.severity import severity_rank
from madhatter_provider.core.warehouse.sql_client import Sql

CASES_PER_QUESTION = 100
ALL_UNANSWERED = "all"
_SHOWN = 20
_MOST_CASES = 2000
_GRAVITY = "ORDER BY SEVERITY_RANK DESC, MAX_SCORE DESC, OPENED_AT, CASE_ID"
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+.!|~&-])")

Case = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks, and how much.

    :param at_most: questions that may wait for people at the same time, over all runs.
    :param answer_within: how long an answer is waited for.
    :param again: id of an unanswered case to ask about again; :data:`ALL_UNANSWERED`: every one.
    """

    dag_id: str
    run_id: str
    at_most: int
    answer_within: timedelta
    again: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """One question, as a person sees it.

    :param body: Markdown.
    :param closed: none of its cases waits for its answer any more.
    """

    question_id: str
    subject: str
    body: str
    closed: bool = False


def take_questions(sql: Sql, asking: Asking, now: datetime | None = None) -> list[Question]:
    """The questions of a run; none when there is nothing to ask, or too much waits already.

    One caller at a time: two would ask about the same cases.

    :raises ConfigurationError: there is no case to ask about again.
    """
    now = now or datetime.now(UTC)
    mine = _taken(sql, asking)
    if not mine:
        if asking.again:
            put_back(sql, asking.again)
        waiting = sql.execute(
            "SELECT COUNT(DISTINCT QUESTION_ID) AS N FROM FRAUD.CASES WHERE STATUS = 'asked' "
            "AND ASKED_UNTIL >= CURRENT_TIMESTAMP()"
        )
        free = asking.at_most - int(waiting[0]["N"])
        cases = sql.execute(f"SELECT * FROM FRAUD.CASES_TO_ASK {_GRAVITY} LIMIT {_MOST_CASES}")
        groups = group_cases(cases, free)
        if not groups:
            return []
        _mark_asked(sql, asking, groups, now)
        mine = _taken(sql, asking)
    return [question_about(name, cases) for name, cases in mine.items()]


def put_back(sql: Sql, case_id: str) -> None:
    """Have an unanswered case asked about again: it is ``held``, like one that waits for its first question.
    One that waits or is asked about already stays as it is.

    :param case_id: :data:`ALL_UNANSWERED`: every unanswered case.
    :raises ConfigurationError: the case is not there, was decided, or holds nothing.
    """
    if case_id != ALL_UNANSWERED:
        found = sql.execute("SELECT STATUS FROM FRAUD.CASES WHERE CASE_ID = ?", [case_id])
        status = found[0]["STATUS"] if found else "unknown"
        if status not in ("held", "asked", "unanswered"):
            raise ConfigurationError(
                f"Case {case_id} is {status}: there is nothing to ask",
                where="FRAUD.CASES",
                remedy="Unanswered cases are those of FRAUD.OPEN_CASES with this status.",
            )
    sql.execute(
        "UPDATE FRAUD.CASES SET STATUS = 'held', DECIDED_AT = NULL, UPDATED_AT = CURRENT_TIMESTAMP() "
        "WHERE STATUS = 'unanswered' AND ? IN (CASE_ID, ?)",
        [case_id, ALL_UNANSWERED],
    )


def count_to_ask(sql: Sql) -> int:
    """Cases that a person must be asked about, and is not."""
    return int(sql.execute("SELECT COUNT(*) AS N FROM FRAUD.CASES_TO_ASK")[0]["N"])


def group_cases(cases: Sequence[Case], questions: int) -> list[list[Case]]:
    """Cases of each question, the gravest first; at most ``questions`` of them."""
    if questions <= 0:
        return []
    if len(cases) <= questions:
        return [[case] for case in cases]
    by_rules: dict[str, list[list[Case]]] = {}
    for case in cases:
        groups = by_rules.setdefault(str(case["RULES"]), [[]])
        if len(groups[-1]) == CASES_PER_QUESTION:
            groups.append([])
        groups[-1].append(case)
    order = {str(case["CASE_ID"]): n for n, case in enumerate(cases)}
    groups = [group for found in by_rules.values() for group in found]
    return sorted(groups, key=lambda group: order[str(group[0]["CASE_ID"])])[:questions]


def question_about(question_id: str, cases: Sequence[Case]) -> Question:
    """The words of a question about one case, or about several with the same rules."""
    first = cases[0]
    if len(cases) == 1:
        subject = f"Block account {first['CUSTOMER_ID']}? {first['SEVERITY']}: {first['RULES']}"
    else:
        subject = f"Block {len(cases)} accounts? Up to {first['SEVERITY']}: {first['RULES']}"
    shown = [line for case in cases[:_SHOWN] for line in _about(case)]
    if len(cases) > _SHOWN:
        shown.append(f"… and {len(cases) - _SHOWN} more: see FRAUD.CASES, QUESTION\\_ID {plain(question_id)}")
    consequences = (
        "**Approve** blocks the account, cancels its orders since the first alert, and labels the alerts as "
        "fraud. **Reject** ships what is held and labels the alerts as legitimate. Without an answer nothing "
        "is blocked, and the orders stay held until somebody asks again."
    )
    waits = any(case["STATUS"] == "asked" and case["QUESTION_ID"] == question_id for case in cases)
    body = "\n".join([*shown, "", consequences])
    return Question(question_id, plain(subject, markdown=False)[:200], body, closed=not waits)


def plain(text: Any, *, markdown: bool = True) -> str:
    """Text of an event as harmless text on one line: no control character, nothing that Markdown or a
    template engine would take for its own.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return _MARKDOWN.sub(r"\\\1", line) if markdown else line


def _about(case: Case) -> list[str]:
    """A few lines about one case."""
    lines = [
        f"### {plain(case['CASE_ID'])}: {plain(case['SEVERITY'])}, {plain(case['RULES'])}",
        f"- {plain(case['REASON'] or 'No reason was given.')}",
        f"- {case['ALERTS']} alerts on {case['AMOUNT']} {plain(case['CURRENCY'])} in "
        f"{plain(case['COUNTRY'])}; since the first one {case['OPEN_ORDERS'] or 0} authorized payments of "
        f"{case['OPEN_AMOUNT'] or 0}",
    ]
    if case["TRANSACTIONS_30D"]:
        lines.append(
            f"- Before, in 30 days: {case['TRANSACTIONS_30D']} payments from {case['DEVICES_30D']} devices, "
            f"{case['SPEND_30D'] or 0} authorized"
        )
    else:
        lines.append("- Nothing is known of this customer: no payment in the 30 days before")
    versions = [v for v in str(case["RULE_VERSIONS"] or "").split(",") if v and v != RULE_VERSION]
    if versions:
        lines.append(
            f"- Raised by rules of version {plain(', '.join(versions))}; known here is "
            f"{plain(RULE_VERSION)}: judge by the reason"
        )
    return lines


def _taken(sql: Sql, asking: Asking) -> dict[str, list[Case]]:
    """The cases that the run has asked about, by question, in the order of the questions.

    Whoever died between marking cases and noting their questions has them noted here.
    """
    run = [asking.dag_id, asking.run_id]
    sql.execute(_NOTE_QUESTIONS, run)
    rows = sql.execute(
        "SELECT q.QUESTION_ID AS ASKED_AS, c.* FROM FRAUD.QUESTIONS AS q "
        "JOIN FRAUD.CASES AS c ON c.CASE_ID = q.CASE_ID WHERE q.DAG_ID = ? AND q.RUN_ID = ? "
        "ORDER BY c.OPENED_AT, c.CASE_ID",
        run,
    )
    rows.sort(key=lambda r: (severity_rank(r["SEVERITY"]), r["MAX_SCORE"]), reverse=True)
    found: dict[str, list[Case]] = {}
    for row in sorted(rows, key=lambda r: int(r["ASKED_AS"].rpartition("#")[2])):
        found.setdefault(row["ASKED_AS"], []).append(row)
    return found


_NOTE_QUESTIONS = """
MERGE INTO FRAUD.QUESTIONS AS t USING (
  SELECT * FROM FRAUD.CASES WHERE STATUS = 'asked' AND ASKED_DAG_ID = ? AND ASKED_RUN_ID = ?
) AS s ON t.QUESTION_ID = s.QUESTION_ID AND t.CASE_ID = s.CASE_ID
WHEN NOT MATCHED THEN INSERT (QUESTION_ID, CASE_ID, DAG_ID, RUN_ID, ASKED_AT, ASKED_UNTIL, SEVERITY)
VALUES
  (s.QUESTION_ID, s.CASE_ID, s.ASKED_DAG_ID, s.ASKED_RUN_ID, s.ASKED_AT, s.ASKED_UNTIL, s.ASKED_SEVERITY)
"""


def _mark_asked(sql: Sql, asking: Asking, groups: Sequence[Sequence[Case]], now: datetime) -> None:
    rows = [
        {"case_id": case["CASE_ID"], "question_id": f"{asking.run_id}#{number}"}
        for number, group in enumerate(groups)
        for case in group
    ]
    sql.execute(
        "MERGE INTO FRAUD.CASES AS t USING (SELECT r.VALUE:case_id::VARCHAR(64) AS CASE_ID, "
        "r.VALUE:question_id::VARCHAR(300) AS QUESTION, ? AS DAG, ? AS RUN, ? AS BEGUN, ? AS EXPIRES "
        "FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?))) AS r) AS s ON t.CASE_ID = s.CASE_ID "
        "WHEN MATCHED THEN UPDATE SET STATUS = 'asked', QUESTION_ID = s.QUESTION, ASKED_AT = s.BEGUN, "
        "ASKED_UNTIL = s.EXPIRES, ASKED_SEVERITY = t.SEVERITY, ASKED_DAG_ID = s.DAG, ASKED_RUN_ID = s.RUN, "
        "DECIDED_BY = NULL, DECIDED_AT = NULL, UPDATED_AT = CURRENT_TIMESTAMP()",
        [asking.dag_id, asking.run_id, now, now + asking.answer_within, json.dumps(rows)],
    )
