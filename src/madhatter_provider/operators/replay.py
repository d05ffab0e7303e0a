"""Replays as tasks. The steps are those of core/replay/run.py and core/replay/quarantine_replay.py; a retry
takes the same replay up where the last try left it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias, BaseOperator

from madhatter_provider.core.contracts.contract import load_contract
from madhatter_provider.links.control_room import ReplayLink
from madhatter_provider.operators.flags import Flag, is_true
from madhatter_provider.operators.retrying import retry_defaults

if TYPE_CHECKING:
    from airflow.sdk import Context

    from madhatter_provider.core.replay.job import Replayed, Replaying

_STATEMENT_SECONDS = 3600.0


class _ReplayOperator(BaseOperator):
    """What both replays have in common."""

    operator_extra_links = (ReplayLink(),)

    def __init__(
        self,
        *,
        contract: str,
        landing_root: str,
        reason: str,
        plan_only: Flag = False,
        loaded: Mapping[str, Asset] | None = None,
        alias: str = "replayed_streams",
        kafka_config_id: str = "kafka_default",
        snowflake_conn_id: str = "snowflake_default",
        schema_registry_conn_id: str | None = None,
        tombstones: str = "quarantine",
        **kwargs: Any,
    ) -> None:
        self._alias = AssetAlias(alias)
        if loaded:
            kwargs["outlets"] = [*kwargs.get("outlets", ()), self._alias]
        super().__init__(**retry_defaults(kwargs))
        self.contract, self.landing_root, self.reason = contract, landing_root, reason
        self.plan_only = plan_only
        self.loaded = dict(loaded or {})
        self.kafka_config_id, self.snowflake_conn_id = kafka_config_id, snowflake_conn_id
        self.schema_registry_conn_id, self.tombstones = schema_registry_conn_id, tombstones

    def execute(self, context: Context) -> dict[str, Any]:
        """Replay, or show the plan; publish the stream's asset if the gate lets it."""
        with self._job(context) as job:
            if is_true(self.plan_only):
                lines = list(self._plan(job))
                for line in lines:
                    self.log.info("%s", line)
                return {"stream": job.contract.stream, "plan": lines}
            done = self._replay(job, who(context))
        self.log.info("%s", done)
        done.raise_if_failed()
        if asset := self.loaded.get(done.stream):
            extra: dict[str, Any] = {"stream": done.stream, "replay": done.id, "decision": done.decision}
            context["outlet_events"][self._alias].add(asset, extra=extra)
        return done.as_dict()

    @abstractmethod
    def _plan(self, job: Replaying) -> Iterator[str]:
        """What would be done, in words."""

    @abstractmethod
    def _replay(self, job: Replaying, by: str) -> Replayed:
        """Do it."""

    @contextmanager
    def _job(self, context: Context) -> Iterator[Replaying]:
        from madhatter_provider.core.replay.job import Replaying
        from madhatter_provider.core.replay.record import id_of_task
        from madhatter_provider.hooks.kafka import KafkaSliceHook
        from madhatter_provider.hooks.object_store import open_store
        from madhatter_provider.hooks.schema_registry import open_schemas
        from madhatter_provider.hooks.snowflake_rest import SnowflakeRestHook

        contract, ti = load_contract(self.contract), context["ti"]
        with SnowflakeRestHook(self.snowflake_conn_id, timeout=_STATEMENT_SECONDS).client as sql:
            yield Replaying(
                contract,
                sql,
                KafkaSliceHook(self.kafka_config_id),
                open_store(self.landing_root),
                id_of_task(context["dag"].dag_id, context["run_id"], ti.task_id, ti.map_index),
                open_schemas(contract, self.schema_registry_conn_id),
                self.tombstones,
                self.log.info,
            )


class ReplaySliceOperator(_ReplayOperator):
    """Read a range of a stream again, and put what comes out in the place of what is there.

    What Kafka retains is read there, what retention took comes from landing files. Afterwards every message
    of the range is in RAW's table or in quarantine, once, as the contract decides now. The plan is logged
    before anything is done.

    :param contract: path of the stream's ODCS contract. (templated)
    :param landing_root: URL below which landing files are; the Snowflake stage points there. (templated)
    :param start: offset for all partitions, ``partition:offset,…``, or an ISO time with zone. (templated)
    :param end: the same, exclusive. (templated)
    :param of_run: instead of both: id of the landing run whose ranges are replayed. (templated)
    :param topic_id: epoch of the topic that the offsets belong to; the present one if left out. (templated)
    :param reason: why; it is recorded in ``OPS.REPLAYS``. (templated)
    :param plan_only: a dry run: show the plan and stop. (templated)
    :param allow_gone: replay the rest when a part is in no source any more. (templated)
    :param take_over: replay what a run has claimed but not loaded, too. (templated)
    :param loaded: asset of the RAW table by stream; the stream's event is published when the gate has
        passed.
    :param alias: name of the asset alias that the event goes through.
    :param kafka_config_id: connection id of Kafka.
    :param snowflake_conn_id: connection id of Snowflake.
    :param schema_registry_conn_id: connection id of the schema registry, for formats that need one; default:
        ``schema_registry_default``.
    :param tombstones: ``quarantine`` messages without a value, or ``keep`` them: as the stream is landed.
    :raises GateFailed: a critical rule failed; the rows are in place, no event is published.
    """

    template_fields: Sequence[str] = (
        "contract", "landing_root", "start", "end", "of_run", "topic_id", "reason", "plan_only", "allow_gone",
        "take_over",
    )  # fmt: skip

    def __init__(
        self,
        *,
        start: str | int | None = None,
        end: str | int | None = None,
        of_run: str | None = None,
        topic_id: str | None = None,
        allow_gone: Flag = False,
        take_over: Flag = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.start, self.end, self.of_run, self.topic_id = start, end, of_run, topic_id
        self.allow_gone, self.take_over = allow_gone, take_over

    def _request(self, by: str) -> Any:
        from madhatter_provider.core.replay.request import ReplayRequest

        return ReplayRequest(
            start=_text(self.start),
            end=_text(self.end),
            run_id=_text(self.of_run),
            topic_id=_text(self.topic_id),
            reason=self.reason,
            who=by,
            allow_gone=is_true(self.allow_gone),
            take_over=is_true(self.take_over),
        )

    def _plan(self, job: Replaying) -> Iterator[str]:
        from madhatter_provider.core.replay.run import plan_replay

        yield from plan_replay(job, self._request("dry run")).lines()

    def _replay(self, job: Replaying, by: str) -> Replayed:
        from madhatter_provider.core.replay.run import replay

        return replay(job, self._request(by))


class ReplayQuarantineOperator(_ReplayOperator):
    """Judge quarantined messages again by the contract as it is now: those that pass move to RAW's table,
    the others stay, with their new reason.

    Takes ``contract``, ``landing_root``, ``reason``, ``plan_only``, ``loaded``, ``alias``, ``tombstones`` and
    the connections of :class:`ReplaySliceOperator`, and:

    :param rules: only rows that these rules hold back: a list, or names with commas between. (templated)
    :param since: only messages that Kafka got at or after this ISO time with zone. (templated)
    """

    template_fields: Sequence[str] = ("contract", "landing_root", "rules", "since", "reason", "plan_only")

    def __init__(self, *, rules: Sequence[str] | str = (), since: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rules, self.since = rules, since

    def _chosen(self, stream: str) -> Any:
        from madhatter_provider.core.replay.quarantine import Selection

        rules = self.rules.split(",") if isinstance(self.rules, str) else self.rules
        return Selection.of(stream, [r.strip() for r in rules if r.strip()], _text(self.since))

    def _plan(self, job: Replaying) -> Iterator[str]:
        from madhatter_provider.core.replay.quarantine_replay import plan_quarantine

        yield from plan_quarantine(job, self._chosen(job.contract.stream)).lines()

    def _replay(self, job: Replaying, by: str) -> Replayed:
        from madhatter_provider.core.replay.quarantine_replay import replay_quarantine

        return replay_quarantine(job, self._chosen(job.contract.stream), reason=self.reason, who=by)


def who(context: Context) -> str:
    """The person who started the run, if Airflow knows one; and the run."""
    person = getattr(context.get("dag_run"), "triggering_user_name", None)
    run = f"{context['dag'].dag_id} {context['run_id']}"
    return (f"{person}, {run}" if person else run)[:256]


def _text(given: Any) -> str | None:
    """What a template made of a value that was not given."""
    text = "" if given is None else str(given).strip()
    return None if text in ("", "None") else text
