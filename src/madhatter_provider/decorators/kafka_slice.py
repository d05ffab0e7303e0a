"""``@task.kafka_slice``: a function that gets the messages of its run's slice."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast, get_args

from airflow.sdk import Asset
from airflow.sdk.bases.decorator import DecoratedOperator, task_decorator_factory
from airflow.sdk.exceptions import AirflowSkipException

from madhatter_provider.core.errors import ConfigurationError
from madhatter_provider.core.landing.slice_batches import OnBad, SliceBatches
from madhatter_provider.core.slices.claim_options import ClaimOptions, OnStateLost, Start
from madhatter_provider.operators.claim import (
    claim_or_skip,
    claimer_arguments,
    claiming,
    refuse_second_claimer,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from airflow.sdk import Context
    from airflow.sdk.bases.decorator import Task

    from madhatter_provider.core.slices.claims import Claim
    from madhatter_provider.hooks.kafka import KafkaSliceHook

_CALLED_LATER = (inspect.isgeneratorfunction, inspect.iscoroutinefunction, inspect.isasyncgenfunction)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
P = ParamSpec("P")
R = TypeVar("R")


class KafkaSliceDecoratedOperator(DecoratedOperator):
    """Claims a slice and calls a function with its messages. Use :func:`kafka_slice_task`."""

    custom_operator_name = "@task.kafka_slice"
    template_fields: Sequence[str] = (*DecoratedOperator.template_fields, "topic", "contract")

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        task_id: str,
        topic: str,
        asset: Asset,
        contract: str | None = None,
        on_bad: OnBad = "fail",
        kafka_config_id: str = "kafka_default",
        schema_registry_conn_id: str | None = None,
        start: Start = "earliest",
        max_messages: int | None = None,
        max_bytes: int | None = None,
        on_state_lost: OnStateLost = "restore",
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if on_bad not in get_args(OnBad):
            raise ConfigurationError(
                f"on_bad={on_bad!r} is not understood",
                where=f"task {task_id}",
                remedy=f"Use one of {', '.join(get_args(OnBad))}.",
            )
        self.options = ClaimOptions(
            topic=topic,
            start=start,
            max_messages=max_messages,
            max_bytes=max_bytes,
            on_state_lost=on_state_lost,
        )
        arguments = claimer_arguments(asset, {**kwargs, "task_id": task_id})
        super().__init__(
            python_callable=_fed_with_batches(python_callable),
            op_args=op_args,
            op_kwargs=op_kwargs,
            **arguments,
        )
        self.topic, self.claims_from, self.kafka_config_id = topic, asset, kafka_config_id
        self.contract, self.on_bad = contract, on_bad
        self.schema_registry_conn_id = schema_registry_conn_id
        refuse_second_claimer(self, asset)

    def execute(self, context: Context) -> Any:
        """Claim, read, call."""
        from madhatter_provider.hooks.kafka import KafkaSliceHook

        kafka = KafkaSliceHook(self.kafka_config_id)
        mine = claiming(context, self.claims_from, dataclasses.replace(self.options, topic=self.topic), kafka)
        claim = claim_or_skip(mine)
        if not len(claim.slice):
            mine.say_losses_once(claim)
            raise AirflowSkipException(f"All that was claimed is lost: {claim.lost}")
        self.log.info("Claimed %s: %d offsets", claim.slice, len(claim.slice))
        arguments = self.determine_kwargs({**context, **self.op_kwargs})
        with contextlib.closing(self._batches(claim, kafka)) as batches:
            result = self.python_callable(batches, *self.op_args, **arguments)
            batches.finish()
        mine.say_losses_once(claim)  # only now: the function has read what is left
        return result

    def _batches(self, claim: Claim, kafka: KafkaSliceHook) -> SliceBatches:
        decoder = None
        if self.contract:
            from madhatter_provider.core.contracts.contract import load_contract
            from madhatter_provider.core.decoding.decoders import open_decoder
            from madhatter_provider.hooks.schema_registry import open_schemas

            contract = load_contract(self.contract)
            decoder = open_decoder(contract, open_schemas(contract, self.schema_registry_conn_id))
        return SliceBatches(claim.slice, kafka.read(claim.slice), decoder, self.on_bad)


def kafka_slice_task(
    *,
    topic: str,
    asset: Asset,
    contract: str | None = None,
    on_bad: OnBad = "fail",
    kafka_config_id: str = "kafka_default",
    schema_registry_conn_id: str | None = None,
    start: Start = "earliest",
    max_messages: int | None = None,
    max_bytes: int | None = None,
    on_state_lost: OnStateLost = "restore",
    multiple_outputs: bool | None = None,
    **task_arguments: Any,
) -> Callable[[Callable[Concatenate[Iterator[pa.RecordBatch], P], R]], Task[P, R]]:
    """Make a task of a function whose first parameter is an iterator of Arrow record batches: the messages of
    its run's slice. ``@task.kafka_slice`` is the same; this name has a signature that editors know.

    A retry or a cleared task gets the same messages. Nothing pending: the task skips. The function must read
    the iterator to its end, or the task fails.

    :param topic: topic to claim from. (templated)
    :param asset: asset whose watcher started the run; its state store holds the position.
    :param contract: path of the stream's ODCS contract, which types the rows; without it they have a binary
        column ``value``. (templated)
    :param on_bad: with a contract, what to do with messages that break it: ``fail`` the task, or ``skip``
        them with a warning that counts them.
    :param kafka_config_id: connection id of Kafka.
    :param schema_registry_conn_id: connection id of the schema registry, for formats that need one; default:
        ``schema_registry_default``.
    :param start: where the first run begins, as in ``SliceClaimer``; ``max_messages``, ``max_bytes`` and
        ``on_state_lost`` too.
    :raises ConfigurationError: an option means nothing, or another task of the DAG claims from this asset.
    """
    decorator = task_decorator_factory(
        multiple_outputs=multiple_outputs,
        decorated_operator_class=KafkaSliceDecoratedOperator,
        topic=topic,
        asset=asset,
        contract=contract,
        on_bad=on_bad,
        kafka_config_id=kafka_config_id,
        schema_registry_conn_id=schema_registry_conn_id,
        start=start,
        max_messages=max_messages,
        max_bytes=max_bytes,
        on_state_lost=on_state_lost,
        **task_arguments,
    )
    return cast("Callable[[Callable[Concatenate[Iterator[pa.RecordBatch], P], R]], Task[P, R]]", decorator)


def _fed_with_batches(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, with a signature that lacks its first parameter: the operator gives it.

    :raises ConfigurationError: it has none, or is not a plain function.
    """
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    name = getattr(function, "__name__", repr(function))
    if not parameters or parameters[0].kind not in _POSITIONAL:
        raise ConfigurationError(
            f"{name}() has no parameter for the messages",
            where="@task.kafka_slice",
            remedy="Give it a first parameter, the iterator of record batches.",
        )
    if any(late(function) for late in _CALLED_LATER):
        raise ConfigurationError(
            f"{name}() would not run when it is called: it yields, or is async",
            where="@task.kafka_slice",
            remedy="Make it a plain function that returns its result.",
        )

    @functools.wraps(function)
    def fed(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    fed.__signature__ = signature.replace(parameters=parameters[1:])  # type: ignore[attr-defined]
    return fed
