"""What the adapter makes of every shape of answer; that real Prometheus has these shapes is shown by the contract."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import aiohttp
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from backstay.adapters import prometheus
from backstay.adapters.prometheus import Curve, Prometheus, Series
from backstay.core.actions import Watch
from backstay.core.devices import RevisionName
from backstay.core.planes import Plane
from backstay.core.signals import Broken, Comparison, Direction, Result, Signal, Verdict

AT = datetime(2025, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
WATCH = Watch(RevisionName("3f9c-2"), "canary", looks=1)
QUERY = "avg(m * on(device) group_left() backstay_device_info{${scope}})"
SIGNAL = Signal("accuracy", QUERY, (Plane.MODEL,), minimum=Decimal("0.9"))
COMPARED = replace(SIGNAL, minimum=None, comparison=Comparison(Direction.DECREASE, Decimal("0.05")))


class Wire:
    """An HTTP server that answers queries with what a test gives it, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: list[web.Response | float] = []
        self.of_baseline: list[web.Response | float] = []
        self.asked: list[dict[str, str]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append({key: str(value) for key, value in (await request.post()).items()})
        answers = self.of_baseline if 'revision!="' in self.asked[-1]["query"] else self.answers
        answer = answers.pop(0)
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            return web.Response()
        return answer


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
async def provider(wire: Wire) -> AsyncIterator[Prometheus]:
    app = web.Application()
    app.router.add_post("/prefix/api/v1/query", wire.answer)
    app.router.add_post("/prefix/api/v1/query_range", wire.answer)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        yield Prometheus(session, str(server.make_url("/prefix/")), timeout_seconds=2)


def answered(data: object, **more: object) -> web.Response:
    return web.Response(body=orjson.dumps({"status": "success", "data": data, **more}), content_type="application/json")


def vector(*numbers: str, label: str = "device") -> web.Response:
    return answered(
        {
            "resultType": "vector",
            "result": [{"metric": {label: f"d{n}"}, "value": [1.5, text]} for n, text in enumerate(numbers)],
        }
    )


def refused(status: int, kind: str, words: str) -> web.Response:
    body = {"status": "error", "errorType": kind, "error": words}
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")


async def verdict(provider: Prometheus, signal: Signal = SIGNAL) -> Verdict:
    return await provider.evaluate(signal, WATCH, "acme", "vision", AT)


# Answers


@pytest.mark.parametrize(
    ("answer", "result", "value"),
    [
        (lambda: vector("0.97"), Result.PASS, 0.97),
        (lambda: vector("0.9"), Result.PASS, 0.9),
        (lambda: vector("0.42"), Result.FAIL, 0.42),
        (lambda: vector("+Inf"), Result.PASS, float("inf")),
        (lambda: vector("-Inf"), Result.FAIL, float("-inf")),
        (lambda: answered({"resultType": "scalar", "result": [1.5, "0.97"]}), Result.PASS, 0.97),
        (lambda: answered({"resultType": "scalar", "result": [1.5, "NaN"]}), Result.NO_DATA, None),
        (lambda: vector("NaN"), Result.NO_DATA, None),
        (vector, Result.NO_DATA, None),
    ],
)
async def test_evaluate_judges_when_there_is_an_answer(provider, wire, answer, result, value):
    wire.answers.append(answer())
    found = await verdict(provider)
    assert (found.result, found.value, found.signal, found.at) == (result, value, "accuracy", AT)


async def test_evaluate_asks_the_confined_query_at_the_given_time_when_it_asks(provider, wire):
    wire.answers.append(vector("0.97"))
    found = await verdict(provider)
    info = 'backstay_device_info{namespace="acme",plan="vision",revision="3f9c-2",ring="canary"}'
    assert found.query == f'avg(m{{namespace="acme"}} * on (device) group_left () {info})'
    assert wire.asked == [{"query": found.query, "time": f"{AT.timestamp():.3f}", "timeout": "2"}]


async def test_evaluate_asks_for_what_is_newer_than_the_watch_when_the_rule_does(provider, wire):
    wire.answers.append(vector("1"))
    query = "count(m * on(device) group_left() backstay_device_info{${scope}} > ${since})"
    watch = replace(WATCH, since=AT - timedelta(minutes=1))
    found = await provider.evaluate(replace(SIGNAL, query=query), watch, "acme", "vision", AT)
    assert found.result is Result.PASS
    assert found.query.endswith("> 1740830340.250)")
    assert wire.asked[0]["query"] == found.query


async def test_evaluate_is_a_provider_error_when_the_rule_needs_a_time_and_the_watch_has_none(provider, wire):
    found = await verdict(provider, replace(SIGNAL, query=f"{QUERY} > ${{since}}"))
    assert (found.result, wire.asked) == (Result.PROVIDER_ERROR, [])
    assert "${since}" in found.message


async def test_ask_keeps_labels_when_there_are_several_series(provider, wire):
    wire.answers.append(vector("1", "2"))
    assert await provider.ask("m", AT) == (Series({"device": "d0"}, 1.0), Series({"device": "d1"}, 2.0))


# What is no answer: "an outage of the metrics store rolls back a good release" (peers), so none of these is a failure


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda: vector("0.97", "0.98"), "returns 2 series; aggregate them"),
        (lambda: refused(400, "bad_data", "parse error: x"), "refused the query (400, bad_data): parse error: x"),
        (lambda: refused(422, "execution", "many-to-many"), "refused the query (422, execution): many-to-many"),
        (lambda: refused(503, "timeout", "query timed out"), "refused the query (503, timeout)"),
        (lambda: refused(200, "internal", "odd"), "refused the query (200, internal)"),
        (lambda: web.Response(status=500, text="oops"), "answered 500 with what is not JSON: oops"),
        (lambda: web.Response(status=401), "answered 401 with what is not JSON: nothing"),
        (lambda: web.Response(status=302, headers={"Location": "/elsewhere"}), "answered 302 with what is not JSON"),
        (lambda: web.Response(text="<html>\n<p>hello"), "not JSON: <html> <p>hello"),
        (lambda: web.Response(body=b"\xff\x00"), "not JSON"),
        (lambda: web.Response(text='{"status":"success","data":{"resultType":"vec'), "not JSON"),
        (lambda: web.Response(text="[]"), "no answer to a query: []"),
        (lambda: web.Response(text="{}"), "no answer to a query: {}"),
        (lambda: web.Response(text='{"status":"success","data":null}'), "no answer to a query"),
        (lambda: answered({}), "without a result"),
        (lambda: answered({"resultType": "vector", "result": None}), "gives a vector"),
        (lambda: answered({"resultType": "vector", "result": [{}]}), "sample that cannot be read"),
        (lambda: answered({"resultType": "vector", "result": [7]}), "sample that cannot be read"),
        (lambda: vector("seven"), "sample that cannot be read"),
        (lambda: answered({"resultType": "scalar", "result": [1, "seven"]}), "sample that cannot be read"),
        (lambda: answered({"resultType": "matrix", "result": []}), "gives a matrix"),
        (lambda: answered({"resultType": "string", "result": [1, "0.97"]}), "gives a string"),
        (
            lambda: answered({"resultType": "vector", "result": [{"metric": {}, "histogram": [1, {}]}]}),
            "native histogram",
        ),
        (
            lambda: answered({"resultType": "vector", "result": []}, warnings=["partial response: store-2 is down"]),
            "warning: partial response: store-2 is down",
        ),
        (lambda: 9.0, "did not answer within 2 s"),
    ],
)
async def test_evaluate_is_a_provider_error_when_there_is_no_whole_answer(provider, wire, answer, words):
    wire.answers.append(answer())
    found = await verdict(provider)
    assert (found.result, found.value) == (Result.PROVIDER_ERROR, None)
    assert words in found.message
    assert len(found.message) < 500


async def test_evaluate_takes_the_answer_when_a_warning_is_only_information(provider, wire):
    data = {"resultType": "scalar", "result": [1, "0.97"]}
    hint = "PromQL info: metric might not be a counter"
    wire.answers.append(answered(data, warnings=[hint], infos=[hint]))
    assert (await verdict(provider)).result is Result.PASS


async def test_evaluate_is_a_provider_error_when_nobody_listens():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with aiohttp.ClientSession() as session:
            found = await verdict(Prometheus(session, f"http://127.0.0.1:{taken.getsockname()[1]}"))
    assert found.result is Result.PROVIDER_ERROR
    assert "did not answer: Cannot connect" in found.message


async def test_evaluate_is_a_provider_error_when_the_connection_breaks_in_the_middle():
    async def half(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"status":"success"')
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(half, "127.0.0.1", 0)
    async with server, aiohttp.ClientSession() as session:
        port = server.sockets[0].getsockname()[1]
        found = await verdict(Prometheus(session, f"http://127.0.0.1:{port}", timeout_seconds=2))
    assert found.result is Result.PROVIDER_ERROR
    assert "did not answer: " in found.message


async def test_evaluate_is_a_provider_error_when_the_answer_is_endless(provider, wire, monkeypatch):
    monkeypatch.setattr(prometheus, "ANSWER_LIMIT_BYTES", 1000)
    wire.answers.append(vector(*["0.97"] * 100))
    found = await verdict(provider)
    assert found.result is Result.PROVIDER_ERROR
    assert "more than 1000 bytes" in found.message


@pytest.mark.parametrize("signal", [SIGNAL, COMPARED])
async def test_evaluate_asks_nothing_when_the_rule_is_refused(provider, wire, signal):
    found = await verdict(provider, replace(signal, query="avg(m)"))
    assert (found.result, found.query, wire.asked) == (Result.PROVIDER_ERROR, "avg(m)", [])
    assert "the rule's query is refused: the query lacks ${scope}" in found.message


# Comparisons

BAD, GOOD = ["0.61", "0.62", "0.63", "0.60", "0.64"], ["0.94", "0.95", "0.96", "0.97", "0.98"]


async def compared(provider: Prometheus, wire: Wire, ring: web.Response, baseline: web.Response) -> Verdict:
    wire.answers, wire.of_baseline = [ring], [baseline]
    return await verdict(provider, COMPARED)


async def test_evaluate_fails_when_the_ring_is_worse_than_the_baseline(provider, wire):
    found = await compared(provider, wire, vector(*BAD), vector(*GOOD))
    assert found.result is Result.FAIL
    assert found.value == pytest.approx(0.34)
    assert "+0.34 against the baseline, p = 0.00397 (limit 0.045)" in found.message
    assert found.compared is not None
    assert (found.compared.looks, found.compared.samples, found.compared.baseline_samples) == (1, 5, 5)
    assert 'revision="3f9c-2",ring="canary"' in found.query


async def test_evaluate_passes_when_the_ring_is_better_than_the_baseline(provider, wire):
    found = await compared(provider, wire, vector(*GOOD), vector(*BAD))
    assert found.result is Result.PASS
    assert found.value == pytest.approx(-0.34)


@pytest.mark.parametrize(
    ("ring", "baseline", "lacks_baseline"),
    [(BAD[:4], GOOD, False), (BAD, GOOD[:4], True), (BAD, [], True), (BAD[:4], GOOD[:4], True)],
)
async def test_evaluate_says_whether_the_baseline_is_missing_when_there_are_too_few(
    provider, wire, ring, baseline, lacks_baseline
):
    found = await compared(provider, wire, vector(*ring), vector(*baseline))
    assert (found.result, found.lacks_baseline, found.compared) == (Result.INCONCLUSIVE, lacks_baseline, None)


@pytest.mark.parametrize(
    ("ring", "baseline", "result", "words"),
    [
        (BAD[:4], GOOD, Result.INCONCLUSIVE, "4 devices against 5"),
        (BAD, [], Result.INCONCLUSIVE, "5 devices against 0"),
        ([*BAD[:4], "NaN"], GOOD, Result.INCONCLUSIVE, "4 devices against 5"),
        ([], GOOD, Result.NO_DATA, "no series"),
        ([], [], Result.NO_DATA, "no series"),
        (["NaN"] * 5, GOOD, Result.NO_DATA, "NaN"),
        (["+Inf", *BAD], GOOD, Result.PROVIDER_ERROR, "no finite value"),
    ],
)
async def test_evaluate_never_passes_when_there_is_nothing_to_compare(provider, wire, ring, baseline, result, words):
    found = await compared(provider, wire, vector(*ring), vector(*baseline))
    assert found.result is result
    assert words in found.message


@pytest.mark.parametrize(
    ("ring", "baseline", "words"),
    [
        (lambda: vector(*BAD, label="site"), lambda: vector(*GOOD), "must keep the label `device`"),
        (lambda: vector(*BAD), lambda: vector(*GOOD, label="site"), "the baseline: a compared query must keep"),
        (lambda: refused(503, "timeout", "slow"), lambda: vector(*GOOD), "refused the query (503, timeout)"),
        (lambda: vector(*BAD), lambda: refused(503, "timeout", "slow"), "the baseline: Prometheus refused the query"),
        (
            lambda: answered({"resultType": "vector", "result": [{"metric": {"device": "d"}, "value": [1, "1"]}] * 2}),
            lambda: vector(*GOOD),
            "returns 2 series for 1 devices",
        ),
    ],
)
async def test_evaluate_is_a_provider_error_when_a_side_cannot_be_compared(provider, wire, ring, baseline, words):
    found = await compared(provider, wire, ring(), baseline())
    assert found.result is Result.PROVIDER_ERROR
    assert words in found.message


# Over time


def matrix(*series: list[list[object]]) -> web.Response:
    found = [{"metric": {"device": f"d{n}"}, "values": values} for n, values in enumerate(series)]
    return answered({"resultType": "matrix", "result": found})


async def over_time(provider: Prometheus) -> tuple[Curve, ...] | Broken:
    return await provider.ask_over("m", AT, AT + timedelta(minutes=1), timedelta(seconds=15))


async def test_ask_over_gives_every_number_with_its_time(provider, wire):
    start = AT.timestamp()
    wire.answers.append(matrix([[start, "1"], [start + 15, "2.5"]], []))
    first, second = await over_time(provider)
    assert first == Curve({"device": "d0"}, ((AT, 1.0), (AT + timedelta(seconds=15), 2.5)))
    assert second.points == ()
    assert wire.asked[0] == {
        "query": "m",
        "start": f"{start:.3f}",
        "end": f"{start + 60:.3f}",
        "step": "15",
        "timeout": "2",
    }


async def test_ask_over_leaves_out_what_is_no_number_when_drawn(provider, wire):
    wire.answers.append(matrix([[1, "NaN"], [2, "+Inf"], [3, "4"]]))
    (curve,) = await over_time(provider)
    assert [number for _, number in curve.points] == [4.0]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda: vector("1"), "in place of series over time"),
        (lambda: answered({"resultType": "matrix", "result": [{"metric": {}, "values": [["x"]]}]}), "cannot be read"),
        (lambda: answered({"resultType": "matrix", "result": [{"values": []}]}), "cannot be read"),
        (
            lambda: answered({"resultType": "matrix", "result": [{"metric": {}, "values": [[1e300, "1"]]}]}),
            "cannot be read",
        ),
        (lambda: refused(422, "execution", "too many points"), "too many points"),
        (lambda: 5.0, "did not answer"),
    ],
)
async def test_ask_over_is_broken_when_the_answer_is_not_whole(provider, wire, answer, words):
    wire.answers.append(answer())
    found = await over_time(provider)
    assert isinstance(found, Broken)
    assert words in found.why
