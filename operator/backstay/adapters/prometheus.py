"""Health signals from Prometheus.

Whatever keeps Prometheus from a whole answer is `Broken`: only numbers that it gave are ever judged as health.

Source: https://prometheus.io/docs/prometheus/latest/querying/api/
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from math import isfinite, isnan, nan
from typing import Any, Final

import aiohttp
import orjson

from backstay.adapters import comparison
from backstay.adapters.promql import QueryRefused, resolve
from backstay.core.actions import Watch
from backstay.core.signals import Answer, Broken, Comparison, Empty, Signal, Value, Verdict, judge

TIMEOUT_SECONDS: Final = 10.0
ANSWER_LIMIT_BYTES: Final = 64 * 1024 * 1024
PER_DEVICE: Final = "device"

_ONLY_INFORMATION: Final = "PromQL info"
_LONGEST_EXCERPT: Final = 300


Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Series:
    """One number and the labels that it has; a scalar has none."""

    labels: Mapping[str, str]
    number: float


Answered = tuple[Series, ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """One series over time, the earliest first; what Prometheus has no number for is left out."""

    labels: Mapping[str, str]
    points: tuple[tuple[datetime, float], ...]


Curves = tuple[Curve, ...]


class Prometheus:
    """Evaluates signals by instant queries at one Prometheus, or what speaks like one."""

    def __init__(self, session: aiohttp.ClientSession, url: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._session = session
        self._url: Final = url.rstrip("/")
        self._timeout_seconds = timeout_seconds

    async def evaluate(self, signal: Signal, watch: Watch, namespace: str, plan: str, at: datetime) -> Verdict:
        """Say what one signal says of the watched devices at one time; raises nothing."""
        scoped = partial(
            resolve,
            signal.query,
            namespace=namespace,
            plan=plan,
            revision=watch.revision,
            ring=watch.ring,
            since=watch.since,
        )
        try:
            query = scoped()
            if signal.comparison is None:
                answer = _one_number(await self.ask(query, at))
            else:
                answer = await self._compared(signal.comparison, query, scoped(baseline=True), watch.looks, at)
        except QueryRefused as refused:
            query, answer = signal.query, Broken(f"the rule's query is refused: {refused}")
        return judge(signal, answer, query, at)

    async def ask(self, query: str, at: datetime) -> Answered | Broken:
        """The series that a query has at one time; raises nothing."""
        found = await self._data("query", {"query": query, "time": _unix(at)})
        return found if isinstance(found, Broken) else _series(found)

    async def ask_over(self, query: str, since: datetime, until: datetime, step: timedelta) -> Curves | Broken:
        """The series that a query has at each step from one time to another, both included; raises nothing."""
        span = {"start": _unix(since), "end": _unix(until), "step": f"{step.total_seconds():g}"}
        found = await self._data("query_range", {"query": query, **span})
        return found if isinstance(found, Broken) else _curves(found)

    async def _data(self, path: str, asked: Mapping[str, str]) -> Json | Broken:
        """What Prometheus answers, if it is whole."""
        asked = {**asked, "timeout": f"{self._timeout_seconds:g}"}
        try:
            async with (
                asyncio.timeout(self._timeout_seconds),
                self._session.post(f"{self._url}/api/v1/{path}", data=asked, allow_redirects=False) as response,
            ):
                body = await _read(response)
        except TimeoutError:
            return Broken(f"Prometheus at {self._url} did not answer within {self._timeout_seconds:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return Broken(f"Prometheus at {self._url} did not answer: {str(error) or type(error).__name__}")
        if body is None:
            return Broken(f"the answer has more than {ANSWER_LIMIT_BYTES} bytes; aggregate in the query")
        return _understood(response.status, body)

    async def _compared(self, how: Comparison, query: str, against: str, looks: int, at: datetime) -> Answer:
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(self.ask(text, at)) for text in (query, against)]
        ring, baseline = (_by_device(task.result()) for task in asked)
        if isinstance(ring, Broken):
            return ring
        if isinstance(baseline, Broken):
            return Broken(f"the baseline: {baseline.why}")
        if not ring:
            return Empty()
        if all(isnan(number) for number in ring):
            return Value(nan)
        return await asyncio.to_thread(comparison.compare, how, _known(ring), _known(baseline), looks)


async def _read(response: aiohttp.ClientResponse) -> bytes | None:
    body = bytearray()
    async for chunk in response.content.iter_chunked(2**16):
        body += chunk
        if len(body) > ANSWER_LIMIT_BYTES:
            return None
    return bytes(body)


def _unix(at: datetime) -> str:
    return f"{at.timestamp():.3f}"


def _understood(status: int, body: bytes) -> Json | Broken:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Broken(f"Prometheus answered {status} with what is not JSON: {_excerpt(body)}")
    match answer:
        case {"status": "error", "errorType": str(kind), "error": str(words)}:
            return Broken(f"Prometheus refused the query ({status}, {kind}): {words[:_LONGEST_EXCERPT]}")
        case {"status": "success", "data": dict(data)} if status == HTTPStatus.OK:
            return _whole(answer) or data
        case _:
            return Broken(f"Prometheus answered {status} with what is no answer to a query: {_excerpt(body)}")


def _whole(answer: Mapping[str, Any]) -> Broken | None:
    """Nothing, or what a warning says is missing; from 2.48 on some mere hints came as warnings, too."""
    warnings = [str(words) for words in answer.get("warnings") or () if not str(words).startswith(_ONLY_INFORMATION)]
    return Broken(f"Prometheus answered with a warning: {'; '.join(warnings)[:_LONGEST_EXCERPT]}") if warnings else None


def _series(data: Mapping[str, Any]) -> Answered | Broken:
    try:
        match data:
            case {"resultType": "scalar", "result": [_, str(text)]}:
                return (Series({}, float(text)),)
            case {"resultType": "vector", "result": list(found)}:
                return tuple(_sample(sample) for sample in found)
            case {"resultType": str(kind)}:
                return Broken(f"the query gives a {kind}; it must give a scalar or an instant vector")
            case _:
                return Broken("Prometheus answered without a result")
    except (KeyError, TypeError, ValueError) as error:
        return Broken(f"Prometheus answered with a sample that cannot be read: {error}")


def _sample(sample: Mapping[str, Any]) -> Series:
    if "histogram" in sample:
        raise ValueError("it is a native histogram; take a quantile or an average of it in the query")
    _, text = sample["value"]
    return Series(dict(sample["metric"]), float(text))


def _curves(data: Mapping[str, Any]) -> Curves | Broken:
    if data.get("resultType") != "matrix":
        return Broken(f"Prometheus answered with a {data.get('resultType')} in place of series over time")
    try:
        return tuple(_curve(found) for found in data["result"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        return Broken(f"Prometheus answered with a series that cannot be read: {error!r}")


def _curve(found: Mapping[str, Any]) -> Curve:
    points = ((datetime.fromtimestamp(at, UTC), float(text)) for at, text in found.get("values", ()))
    return Curve(dict(found["metric"]), tuple((at, number) for at, number in points if isfinite(number)))


def _one_number(answered: Answered | Broken) -> Answer:
    match answered:
        case Broken():
            return answered
        case ():
            return Empty()
        case (Series(number=number),):
            return Value(number)
        case _:
            return Broken(f"the query returns {len(answered)} series; aggregate them")


def _by_device(answered: Answered | Broken) -> tuple[float, ...] | Broken:
    if isinstance(answered, Broken):
        return answered
    devices = {series.labels.get(PER_DEVICE, "") for series in answered}
    if "" in devices:
        return Broken(f"a compared query must keep the label `{PER_DEVICE}`, as sum by ({PER_DEVICE}) (…) does")
    if len(devices) < len(answered):
        return Broken(
            f"the query returns {len(answered)} series for {len(devices)} devices; aggregate them by {PER_DEVICE}"
        )
    return tuple(series.number for series in answered)


def _known(numbers: Sequence[float]) -> tuple[float, ...]:
    return tuple(number for number in numbers if not isnan(number))


def _excerpt(body: bytes) -> str:
    return " ".join(body[:_LONGEST_EXCERPT].decode(errors="replace").split()) or "nothing"
