"""HTTP to Snowflake, once for both worlds.

What is to be asked, and when to ask again, is written down once as a generator of *steps* (:class:`Call` and
:class:`Pause`); :meth:`SnowflakeHttp.run` and :meth:`SnowflakeHttp.arun` carry the steps out, blocking or
    not.
Retries: full-jitter back-off within one deadline for the whole operation. A request that Snowflake may have
carried out already is sent again only if the caller says that this does no harm.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
import ssl
import time
import uuid
from collections.abc import Generator
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from madhatter_provider.core.errors import ConfigurationError, MadHatterError, SnowflakeUnavailable, SqlError
from madhatter_provider.hooks.snowflake_profile import KeyPairSigner, SnowflakeProfile

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

_FIRST_WAIT: Final = 0.2
_LONGEST_WAIT: Final = 8.0
_NEVER_BEGUN: Final = frozenset({429, 503})
"""Snowflake turned the request away before doing anything."""
_MAY_HAVE_RUN: Final = frozenset({408, 500, 502, 504})

_MISSING = (
    ConfigurationError,
    "Snowflake knows no such thing, or not for this role",
    "Check account, host and the name; `madhatter sql apply` makes what this package needs.",
)
_BUSY = (SnowflakeUnavailable, "Snowflake asks to slow down", "Wait; fewer tasks at a time if it lasts.")
_FAILED = (SnowflakeUnavailable, "Snowflake failed", "Try again.")
_OTHER_REFUSAL = (
    SqlError,
    "Snowflake refused the request",
    "Look at the message: the request itself is wrong.",
)
_REFUSALS: Final[dict[int, tuple[type[MadHatterError], str, str]]] = {
    403: _MISSING,
    404: _MISSING,
    **dict.fromkeys(_NEVER_BEGUN, _BUSY),
    **dict.fromkeys(_MAY_HAVE_RUN, _FAILED),
}


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request. ``repeatable``: sending it twice does no harm."""

    method: str
    path: str
    params: dict[str, str] = field(default_factory=dict)
    body: Any = None
    repeatable: bool = True
    about: str = ""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait this many seconds."""

    seconds: float


Steps = Generator["Call | Pause", Any, T]


class Deadline:
    """The time that one operation may take, waits between tries included."""

    def __init__(self, seconds: float) -> None:
        self._ends, self._tries = time.monotonic() + seconds, 0

    @property
    def left(self) -> float:
        """Seconds left; never negative."""
        return max(0.0, self._ends - time.monotonic())

    def next_wait(self, asked: float | None = None) -> float | None:
        """Seconds to wait before the next try; ``None``: no time left for one.

        :param asked: what the server asked for (``Retry-After``).
        """
        wait = (
            asked
            if asked is not None
            else random.uniform(0, min(_LONGEST_WAIT, _FIRST_WAIT * 2**self._tries))
        )
        self._tries += 1
        return wait if wait < self.left else None


class SnowflakeHttp:
    """Carries out steps against one account. Use it as a context manager, or call :meth:`close`.

    :param timeout: seconds that one operation may take altogether.
    """

    def __init__(self, profile: SnowflakeProfile, timeout: float = 60.0) -> None:
        self.profile, self.timeout = profile, timeout
        self._signer = KeyPairSigner(profile)
        self._client: httpx.Client | None = None
        self._async_client: httpx.AsyncClient | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def close(self) -> None:
        """Close the blocking client's connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    async def aclose(self) -> None:
        """Close the asynchronous client's connections."""
        if self._async_client is not None:
            await self._async_client.aclose()
            self._async_client = None

    def run(self, steps: Steps[T]) -> T:
        """Carry out steps, blocking."""
        import httpx

        if self._client is None:
            self._client = httpx.Client(base_url=self.profile.base_url)
        answer: Any = None
        try:
            while True:
                step = steps.send(answer)
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                    answer = None
                    continue
                try:
                    answer = self._client.request(**self._request(step))
                except httpx.TransportError as err:
                    answer = err
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]

    async def arun(self, steps: Steps[T]) -> T:
        """Carry out steps without blocking the event loop."""
        if self._async_client is None:
            # Imports and the CA bundle take a quarter of a second: not in the event loop, which others share.
            context = await asyncio.to_thread(_ssl_context)
        import httpx

        if self._async_client is None:
            self._async_client = httpx.AsyncClient(base_url=self.profile.base_url, verify=context)
        answer: Any = None
        try:
            while True:
                step = steps.send(answer)
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    answer = None
                    continue
                try:
                    answer = await self._async_client.request(**self._request(step))
                except httpx.TransportError as err:
                    answer = err
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]

    def _request(self, call: Call) -> dict[str, Any]:
        headers = {
            "Authorization": f"Bearer {self._signer.token()}",
            "X-Snowflake-Authorization-Token-Type": "KEYPAIR_JWT",
            "Accept": "application/json",
            "User-Agent": "madhatter-provider",
        }
        return {
            "method": call.method,
            "url": call.path,
            "params": call.params,
            "json": call.body,
            "headers": headers,
            "timeout": self.timeout,
        }

    def ask(self, call: Call, deadline: Deadline) -> Steps[httpx.Response]:
        """Steps of one request: send it, and again while that can help.

        :raises SnowflakeUnavailable: no answer in time, or asked to slow down for too long.
        :raises ConfigurationError: key, user, account or address is wrong.
        :raises SqlError: any other refusal.
        """
        renewed = False
        params = {"requestId": str(uuid.uuid4()), **call.params}
        call = dataclasses.replace(call, params=params)
        while True:
            answer = yield call
            status = getattr(answer, "status_code", None)
            if status is not None and (status < 400 or status == 422):
                return answer  # type: ignore[no-any-return]
            if status == 401 and not renewed:
                renewed = True
                self._signer.renew()
                continue
            error = self._error(call, answer)
            wait = deadline.next_wait(_retry_after(answer)) if _worth_repeating(call, answer) else None
            if wait is None:
                raise error
            yield Pause(wait)
            if call.method == "POST":
                call = dataclasses.replace(call, params={**params, "retry": "true"})

    def _error(self, call: Call, answer: Any) -> MadHatterError:
        where = f"{call.about or call.path} at {self.profile.base_url}"
        if isinstance(answer, Exception):
            return self._transport_error(answer, where)
        status, message = answer.status_code, _message(answer)
        if status == 401:
            user, account = self.profile.user, self.profile.account
            return ConfigurationError(
                f"Snowflake refused the key of user {user} in account {account}: {message}",
                where=where,
                remedy="Register the public key (ALTER USER … SET RSA_PUBLIC_KEY), check account and user, "
                "and the clock of this machine.",
            )
        kind, what, remedy = _REFUSALS.get(status, _OTHER_REFUSAL)
        return kind(f"{what} ({status}): {message}", where=where, remedy=remedy)

    def _transport_error(self, error: Exception, where: str) -> MadHatterError:
        if _is_certificate_error(error):
            return ConfigurationError(
                f"The server's certificate is not trusted: {error}",
                where=where,
                remedy="Check the host; for a private CA set SSL_CERT_FILE to a bundle that holds it.",
            )
        return SnowflakeUnavailable(
            f"No answer from Snowflake: {type(error).__name__}: {error}",
            where=where,
            remedy="Check that account and host are right and that this machine can reach them.",
        )


def _ssl_context() -> ssl.SSLContext:
    import httpx

    return httpx.create_ssl_context()


def _worth_repeating(call: Call, answer: Any) -> bool:
    if isinstance(answer, Exception):
        import httpx

        if _is_certificate_error(answer):
            return False
        return call.repeatable or isinstance(
            answer, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout
        )
    status = answer.status_code
    return status in _NEVER_BEGUN or (status in _MAY_HAVE_RUN and call.repeatable)


def _is_certificate_error(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _retry_after(answer: Any) -> float | None:
    try:
        return float(answer.headers["Retry-After"])
    except (AttributeError, KeyError, ValueError):
        return None


def _message(answer: httpx.Response) -> str:
    try:
        body = answer.json()
        return f"{body.get('message')} [{body.get('code')}]"
    except (ValueError, AttributeError):
        return answer.text[:200].strip() or answer.reason_phrase
