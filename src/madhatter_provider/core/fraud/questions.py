"""Which cases a person is asked about, in how many questions, and in which words.

A question is one task of a run of the DAG that asks. Its cases carry the question's id and the time until an
answer is expected; after that they may be asked about again. :func:`take_questions`:

1. A run that has taken questions before gets those that are still without an answer.
2. Else it takes cases of ``FRAUD.CASES_TO_ASK``, the gravest first, for as many questions as may still wait
   for people. A few cases get a question each. When there are more cases than that, those with the same
   rules share one: a flood of alerts must not make hundreds of questions.

What does not fit waits for a later run; its orders are held meanwhile.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from madhatter_provider.core.fraud.rules import RULE_VERSION
from madhatter_provider.core.fraud.severity import severity_rank
from madhatter_provider.core.warehouse.sql_client import Sql

CASES_PER_QUESTION = 100
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
    """

    dag_id: str
    run_id: str
    at_most: int
    answer_within: timedelta


@dataclass(frozen=True, slots=True)
class Question:
    """One question, as a person sees it. ``body`` is Markdown."""

    question_id: str
    subject: str
    body: str


def take_questions(sql: Sql, asking: Asking, now: datetime | None = None) -> list[Question]:
    """The questions of a run; none when there is nothing to ask, or too much waits already.

    One caller at a time: two would ask about the same cases.
    """
    now = now or datetime.now(UTC)
    mine = _taken(sql, asking)
    if not mine:
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
        "is blocked, and the orders stay held."
    )
    return Question(question_id, plain(subject, markdown=False)[:200], "\n".join([*shown, "", consequences]))


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
    """The run's cases that are still without an answer, by question."""
    rows = sql.execute(
        "SELECT * FROM FRAUD.CASES WHERE STATUS = 'asked' AND ASKED_DAG_ID = ? AND ASKED_RUN_ID = ? "
        "ORDER BY OPENED_AT, CASE_ID",
        [asking.dag_id, asking.run_id],
    )
    found: dict[str, list[Case]] = {}
    for row in sorted(rows, key=lambda r: (severity_rank(r["SEVERITY"]), r["MAX_SCORE"]), reverse=True):
        found.setdefault(str(row["QUESTION_ID"]), []).append(row)
    return found


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
