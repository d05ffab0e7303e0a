"""The lines of an audit's table: what was compared, and whether it agrees. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from madhatter_provider.core.audit.model import CHECKS, Evidence, Finding, LandingFiles, Place
from madhatter_provider.core.audit.plan import Action

Verdict = Literal["agree", "differ", "not looked at"]


@dataclass(frozen=True, slots=True)
class Line:
    """One line.

    :param looked_at: what was compared, in numbers.
    :param found: differences by kind, or why it was not looked at.
    """

    check: str
    verdict: Verdict
    looked_at: str
    found: str


def lines(evidence: Evidence, findings: Iterable[Finding]) -> list[Line]:
    """A line for every check. Notes do not make it a difference."""
    found = list(findings)
    return [_line(check, evidence, found) for check in CHECKS]


def _line(check: str, evidence: Evidence, findings: Sequence[Finding]) -> Line:
    places, kinds = CHECKS[check]
    mine = [f for f in findings if f.kind in kinds]
    words = ", ".join(f"{kind} {n}" for kind, n in Counter(f.kind for f in mine).items())
    # A place may answer for a part: what was found there counts.
    blind = next((f"{place}: {evidence.unseen[place]}" for place in places if place in evidence.unseen), "")
    if any(f.severity == "difference" for f in mine):
        return Line(check, "differ", _numbers(check, evidence), words)
    if blind:
        return Line(check, "not looked at", "", blind)
    return Line(check, "agree", _numbers(check, evidence), words)


def _numbers(check: str, evidence: Evidence) -> str:
    ledger = evidence.ledger or ()
    lost = sum(r.state == "lost" for r in ledger)
    landing, rows = evidence.landing, evidence.rows
    counted = rows.by_range.values() if rows else ()
    numbers: Mapping[str, str] = {
        "losses are acknowledged": f"{lost} lost ranges",
        "position and ledger agree": f"{sum(d.before is not None for d in evidence.dags)} DAGs",
        "mirror group and position agree": f"{sum(d.mirror is not None for d in evidence.dags)} groups",
        "landing files are as landed": _files(landing),
        "manifests and ledger agree": f"{len(landing.manifests) if landing else 0} manifests",
        "every message is in one place, once": (
            f"{sum(r.rows for r in counted):,} rows, {sum(r.held_rows for r in counted):,} quarantined"
        ),
    }
    return numbers.get(check, f"{len(ledger)} ranges")


def _files(landing: LandingFiles | None) -> str:
    if landing is None:
        return "0 files"
    read = "" if landing.contents is None else f", {len(landing.contents)} of them by content"
    return f"{len(landing.files)} files{read}"


def exit_code(evidence: Evidence, findings: Iterable[Finding], *, asked: Iterable[Place]) -> int:
    """0: all agree; 1: differences; 2: none, but a place that was asked for could not be looked at."""
    if any(f.severity == "difference" for f in findings):
        return 1
    return 2 if any(place in evidence.unseen for place in asked) else 0


def as_dict(evidence: Evidence, findings: Sequence[Finding], actions: Sequence[Action]) -> dict[str, Any]:
    """A JSON value."""
    return {
        "stream": evidence.stream,
        "topic_id": evidence.topic_id,
        "checks": [asdict(line) for line in lines(evidence, findings)],
        "findings": [
            {
                "kind": f.kind,
                "severity": f.severity,
                "topic_id": f.owned.topic_id,
                "ranges": [[r.partition, r.start, r.end] for r in f.owned],
                "said": f.said,
                "dag_id": f.run[0],
                "run_id": f.run[1],
                "path": f.path,
            }
            for f in findings
        ],
        "plan": [
            {
                "kind": a.kind,
                "topic_id": a.owned.topic_id,
                "ranges": [[r.partition, r.start, r.end] for r in a.owned],
                "said": a.said,
                "position": dict(a.position),
            }
            for a in actions
        ],
    }
