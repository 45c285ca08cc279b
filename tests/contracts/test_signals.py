"""What a provider of signals promises: the wire format as we know it, and a real Prometheus over the same past.

The recorded bodies are those on which the adapter's own tests build, so the real one is also asked whether it still
says exactly that.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import aiohttp
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from backstay.adapters.prometheus import Prometheus
from backstay.adapters.promql import resolve
from backstay.core.actions import Watch
from backstay.core.devices import RevisionName
from backstay.core.planes import Plane
from backstay.core.signals import Comparison, Direction, Result, Signal
from tests.contracts.real_prometheus import remembering

AT = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
CANARY = Watch(RevisionName("new-2"), "canary", looks=1)
INFO = "on(namespace, device) group_left() backstay_device_info{${scope}}"
WORSE = Comparison(Direction.DECREASE, Decimal("0.05"))

NEW, OLD = ("0.60", "0.61", "0.62", "0.63", "0.64"), ("0.94", "0.95", "0.96", "0.97", "0.98")


@dataclass(frozen=True)
class Case:
    """One question, the answer's status and `data`, and what is made of it."""

    name: str
    query: str
    status: int
    answer: dict[str, object]
    result: Result
    says: str
    watch: Watch = CANARY
    namespace: str = "acme"
    bounds: dict[str, Decimal | Comparison] = field(default_factory=lambda: {"minimum": Decimal("0.9")})

    @property
    def signal(self) -> Signal:
        return Signal(self.name, self.query, (Plane.MODEL,), **self.bounds)

    @property
    def resolved(self) -> str:
        watch = self.watch
        return resolve(
            self.query,
            namespace=self.namespace,
            plan="vision",
            revision=watch.revision,
            ring=watch.ring,
            since=watch.since,
        )

    @property
    def body(self) -> dict[str, object]:
        return {"status": "success" if self.status == 200 else "error"} | self.answer


def vector(*samples: tuple[dict[str, str], str]) -> dict[str, object]:
    found = [{"metric": labels, "value": [int(AT.timestamp()), text]} for labels, text in samples]
    return {"data": {"resultType": "vector", "result": found}}


def devices(first: int, numbers: tuple[str, ...]) -> dict[str, object]:
    return vector(*(({"device": f"d{n}"}, str(float(text))) for n, text in enumerate(numbers, first)))


def failed(kind: str, words: str) -> dict[str, object]:
    return {"errorType": kind, "error": words}


PER_DEVICE = f"sum by (device) (backstay_inference_accuracy * {INFO})"
CASES = (
    Case("passes", f"max(backstay_heap * {INFO})", 200, vector(({}, "1")), Result.PASS, "1 is within its limits"),
    Case(
        "fails", f"avg(backstay_inference_accuracy * {INFO})", 200, vector(({}, "0.62")), Result.FAIL, "0.62 is below"
    ),
    Case(
        "scalar",
        f"scalar(avg(backstay_inference_accuracy * {INFO}))",
        200,
        {"data": {"resultType": "scalar", "result": [int(AT.timestamp()), "0.62"]}},
        Result.FAIL,
        "0.62 is below",
    ),
    Case(
        "revision",
        f"count(backstay_inference_accuracy * {INFO})",
        200,
        vector(({}, "7")),
        Result.PASS,
        "7 is within its limits",
        Watch(RevisionName("new-2"), None, looks=1),
    ),
    Case("infinite", f"max(backstay_infinite * {INFO})", 200, vector(({}, "+Inf")), Result.PASS, "inf is within"),
    Case("nothing", f"avg(backstay_absent * {INFO})", 200, vector(), Result.NO_DATA, "no series"),
    Case("not-a-number", f"max(backstay_nan * {INFO})", 200, vector(({}, "NaN")), Result.NO_DATA, "NaN"),
    Case(
        "several",
        PER_DEVICE,
        200,
        devices(0, NEW),
        Result.PROVIDER_ERROR,
        "returns 5 series; aggregate them",
    ),
    Case(
        "since",
        f"count((backstay_last_report_timestamp_seconds > ${{since}}) * {INFO})",
        200,
        vector(({}, "3")),
        Result.PASS,
        "3 is within its limits",
        Watch(RevisionName("new-2"), "canary", looks=1, since=AT - timedelta(seconds=30)),
    ),
    Case(
        "range",
        "backstay_device_info{${scope}, device='d0'}[1s]",
        200,
        {
            "data": {
                "resultType": "matrix",
                "result": [
                    {
                        "metric": {
                            "__name__": "backstay_device_info",
                            "device": "d0",
                            "namespace": "acme",
                            "plan": "vision",
                            "revision": "new-2",
                            "ring": "canary",
                        },
                        "values": [[int(AT.timestamp()), "1"]],
                    }
                ],
            }
        },
        Result.PROVIDER_ERROR,
        "gives a matrix",
    ),
    Case(
        "ambiguous",
        "backstay_heap * on(namespace) backstay_device_info{${scope}}",
        422,
        failed("execution", "found duplicate series for the match group"),
        Result.PROVIDER_ERROR,
        "refused the query (422, execution): found duplicate series",
    ),
    Case(
        "unknown-function",
        f"sort_by_label(backstay_heap * {INFO}, 'device')",
        400,
        failed("bad_data", "invalid parameter "),
        Result.PROVIDER_ERROR,
        "refused the query (400, bad_data): ",
    ),
    Case("compared", PER_DEVICE, 200, devices(0, NEW), Result.FAIL, "+0.34 against", bounds={"comparison": WORSE}),
    Case(
        "too-few",
        PER_DEVICE,
        200,
        devices(5, NEW[:2]),
        Result.INCONCLUSIVE,
        "2 devices against 5 of the baseline",
        Watch(RevisionName("new-2"), "internal", looks=1),
        bounds={"comparison": WORSE},
    ),
    Case(
        "other-tenant",
        f"avg(backstay_inference_accuracy{{namespace='acme'}} * {INFO})",
        200,
        vector(),
        Result.NO_DATA,
        "no series",
        namespace="globex",
    ),
    Case(
        "own-tenant",
        f"avg(backstay_inference_accuracy * {INFO})",
        200,
        vector(({}, "0.1")),
        Result.FAIL,
        "0.1 is below",
        namespace="globex",
    ),
)
BY_QUERY = {case.resolved: case for case in CASES}
BASELINE = resolve(PER_DEVICE, namespace="acme", plan="vision", revision="new-2", ring=None, baseline=True)


def past() -> str:
    """Two tenants whose devices have the same names, in the text that Prometheus imports."""
    rows = []

    def add(metric: str, namespace: str, device: str, value: str, **labels: str) -> None:
        inside = ",".join(f'{k}="{v}"' for k, v in {"namespace": namespace, "device": device, **labels}.items())
        rows.append(f"{metric}{{{inside}}} {value} {AT.timestamp():.0f}")

    def device(namespace: str, number: int, accuracy: str, revision: str, ring: str) -> None:
        name = f"d{number}"
        add("backstay_device_info", namespace, name, "1", plan="vision", revision=revision, ring=ring)
        add("backstay_inference_accuracy", namespace, name, accuracy)
        add("backstay_heap", namespace, name, "1")

    for number, accuracy in enumerate(NEW):
        device("acme", number, accuracy, "new-2", "canary")
    for number, accuracy in enumerate(NEW[:2], 5):
        device("acme", number, accuracy, "new-2", "internal")
    for number, accuracy in enumerate(OLD, 7):
        device("acme", number, accuracy, "old-1", "canary")
    device("globex", 0, "0.1", "new-2", "canary")
    for number, seconds in enumerate((10, 20, 29, 30, 31)):
        add("backstay_last_report_timestamp_seconds", "acme", f"d{number}", f"{AT.timestamp() - seconds}")
    add("backstay_nan", "acme", "d0", "NaN")
    add("backstay_infinite", "acme", "d0", "+Inf")
    families = sorted(rows)  # a metric's samples must stand together
    return "\n".join([*families, "# EOF", ""])


@asynccontextmanager
async def recorded() -> AsyncIterator[str]:
    """The URL of a server that knows the bodies by heart."""

    async def answer(request: web.Request) -> web.Response:
        query = str((await request.post())["query"])
        if query == BASELINE:
            return web.Response(body=orjson.dumps({"status": "success"} | devices(7, OLD)))
        case = BY_QUERY[query]
        return web.Response(status=case.status, body=orjson.dumps(case.body))

    app = web.Application()
    app.router.add_post("/api/v1/query", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


@pytest.fixture(scope="session")
def real_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus that scrapes nothing and remembers the past."""
    with remembering(tmp_path_factory.mktemp("prometheus"), past()) as url:
        yield url


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture(params=["recorded", "real"])
async def url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    if request.param == "real":
        yield request.getfixturevalue("real_url")
        return
    async with recorded() as url:
        yield url


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_signals_give_the_verdict_when_asked(url, session, case):
    signals = Prometheus(session, url)
    verdict = await signals.evaluate(case.signal, case.watch, case.namespace, "vision", AT)
    assert (verdict.result, verdict.signal, verdict.query, verdict.at) == (
        case.result,
        case.name,
        case.resolved,
        AT,
    ), verdict.message
    assert case.says in verdict.message
    assert (verdict.value is None) == (case.result not in {Result.PASS, Result.FAIL})


async def test_signals_have_no_data_when_the_devices_fell_silent(real_url, session):
    case = CASES[0]
    later = AT + timedelta(minutes=6)
    verdict = await Prometheus(session, real_url).evaluate(case.signal, case.watch, "acme", "vision", later)
    assert verdict.result is Result.NO_DATA


@pytest.mark.parametrize(
    "name", ['"', "\\", 'x"} or {y="', "line\nfeed", "\x00\x7f", "é\u2028", "'`", "${scope}", "{}"]
)
async def test_signals_take_any_name_as_a_name_when_it_looks_like_syntax(real_url, session, name):
    case = CASES[1]
    watch = Watch(RevisionName(name), name, looks=1)
    verdict = await Prometheus(session, real_url).evaluate(case.signal, watch, "acme", name, AT)
    assert verdict.result is Result.NO_DATA, verdict.message


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_recorded_bodies_are_what_a_real_prometheus_says_when_asked_the_same(real_url, session, case):
    asked = {"query": case.resolved, "time": str(int(AT.timestamp()))}
    async with session.post(f"{real_url}/api/v1/query", data=asked) as response:
        status, body = response.status, orjson.loads(await response.read())
    assert status == case.status
    if status == 200:
        result = body["data"]["result"]
        if body["data"]["resultType"] == "vector":
            result.sort(key=lambda sample: int(sample["metric"].get("device", "d0")[1:]))
        assert body == case.body
    else:
        assert body["error"].startswith(str(case.answer["error"]))
        assert body.keys() == case.body.keys()
        assert body["errorType"] == case.answer["errorType"]
