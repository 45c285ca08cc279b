"""Inference, against a real server with a real model: the demo's digits."""

import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from backstay.adapters.node.probes.registry import build
from backstay.adapters.node.probes.samples import EXACT, GoldenSamples, Tolerance
from backstay.adapters.node.probes.surroundings import Served, Surroundings
from backstay.core.probing import Measurement
from backstay.simulate.inference import Model, load_model
from demo.model import FIRST, MISQUANTISED, held_out_digits, train_model
from tests.adapters.node.probes.digit_server import MODEL, DigitServer, running
from tests.adapters.node.probes.surroundings import probe

SAMPLES = 40


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(train_model(FIRST).data)


@pytest.fixture(scope="module")
def misquantised() -> Model:
    return load_model(train_model(MISQUANTISED).data)


def golden(model: Model, **changed: Any) -> bytes:
    """The samples that a release of this model brings: real digits, and what it answers for them."""
    x = held_out_digits().x[:SAMPLES]
    digits, probabilities = model.classify(x)
    samples = [
        {
            "inputs": [{"name": "pixels", "shape": [1, 64], "datatype": "UINT8", "data": [pixels.tolist()]}],
            "outputs": [
                {"name": "digit", "datatype": "INT64", "shape": [1], "data": [int(digit)]},
                {"name": "probability", "datatype": "FP32", "shape": [1], "data": [round(float(probability), 3)]},
            ],
        }
        for pixels, digit, probability in zip(x, digits, probabilities, strict=True)
    ]
    return orjson.dumps({"tolerances": {"probability": {"absolute": 0.01}}, "samples": samples, **changed})


@dataclass
class Bench:
    server: DigitServer
    url: str
    samples: Path
    serves: Served | None

    async def measure(self, kind: str, **settings: str) -> Measurement:
        async with aiohttp.ClientSession() as session:
            around = Surroundings(session, self.url, served=lambda: self.serves)
            return await build(probe(kind, **settings), around).run()


@pytest.fixture
async def bench(model: Model, tmp_path: Path) -> AsyncIterator[Bench]:
    samples = tmp_path / "samples.json"
    samples.write_bytes(golden(model))
    server = DigitServer(model)
    async with running(server) as url:
        yield Bench(server, url, samples, Served(MODEL, "1.0.0", samples))


async def test_alive_passes_when_the_server_takes_requests(bench: Bench) -> None:
    assert (await bench.measure("InferenceAlive")).passed


async def test_alive_fails_when_the_server_says_no(bench: Bench) -> None:
    bench.server.live = False
    found = await bench.measure("InferenceAlive")
    assert (found.fault, found.detail) == ("NotAlive", "the server answered 200, and live is false")


@pytest.mark.parametrize("kind", ["InferenceAlive", "InferenceReady", "SampleReplay"])
async def test_inference_fails_and_names_the_address_when_nobody_listens(bench: Bench, kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bench.url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    found = await bench.measure(kind, minAgreement="98%") if kind == "SampleReplay" else await bench.measure(kind)
    assert (found.passed, found.fault) == (False, "Unreachable")
    assert bench.url in found.detail


async def test_ready_passes_when_the_right_version_is_served(bench: Bench) -> None:
    found = await bench.measure("InferenceReady")
    assert (found.passed, found.detail) == (True, "model digits 1.0.0 is ready")


async def test_ready_fails_when_the_version_before_is_still_served(bench: Bench) -> None:
    bench.serves = Served(MODEL, "1.1.0")
    found = await bench.measure("InferenceReady")
    assert (found.passed, found.fault) == (False, "WrongVersion")
    assert found.detail == "model digits is served in 1.0.0; 1.1.0 should be"


async def test_ready_asks_for_the_model_that_the_probe_names(bench: Bench) -> None:
    found = await bench.measure("InferenceReady", model="letters")
    assert (found.passed, found.fault) == (False, "NotReady")
    assert found.detail == "/v2/models/letters/ready answered 404: there is no model letters"
    assert (await bench.measure("InferenceReady", model=MODEL)).passed


async def test_ready_fails_when_the_server_or_the_model_is_not(bench: Bench) -> None:
    bench.server.loaded = False
    assert (await bench.measure("InferenceReady")).detail == "the server answered 200, and ready is false"
    bench.server.ready = False
    assert (await bench.measure("InferenceReady")).detail.startswith("/v2/health/ready answered 503")


async def test_ready_asks_the_server_alone_when_no_model_is_known(bench: Bench) -> None:
    bench.serves = None
    assert (await bench.measure("InferenceReady")).passed


async def test_ready_takes_an_empty_answer_for_a_yes_when_the_status_is_200() -> None:
    async def empty(_request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.add_routes([web.get("/v2/health/{what}", empty)])
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        around = Surroundings(session, str(server.make_url("/")))
        assert (await build(probe("InferenceReady"), around).run()).passed


async def test_replay_passes_when_the_model_answers_as_its_samples_say(bench: Bench) -> None:
    found = await bench.measure("SampleReplay", minAgreement="98%", maxLatency="5s")
    assert found.passed
    assert found.detail.startswith("100.0% of 40 samples agree, p95 ")
    assert bench.server.asked == ["/v2/models/digits/versions/1.0.0/infer"] * SAMPLES


async def test_replay_fails_when_the_model_was_quantised_wrongly(bench: Bench, misquantised: Model) -> None:
    bench.server.model = misquantised
    found = await bench.measure("SampleReplay", minAgreement="98%")
    assert (found.passed, found.fault) == (False, "Disagrees")
    assert "at least 98.0% wanted; the first that differs: output " in found.detail


async def test_replay_holds_each_output_to_its_own_tolerance(bench: Bench, model: Model) -> None:
    bench.samples.write_bytes(golden(model, tolerances={}))
    found = await bench.measure("SampleReplay", minAgreement="98%")
    assert found.fault == "Disagrees"
    assert "output probability[0] is 0." in found.detail


async def test_replay_goes_by_the_95th_percentile_when_it_judges_latency(bench: Bench) -> None:
    bench.server.slow_seconds = 0.4
    bench.server.slow_answers = 2
    assert (await bench.measure("SampleReplay", maxLatency="300ms")).passed
    bench.server.slow_answers = 3
    found = await bench.measure("SampleReplay", maxLatency="300ms")
    assert (found.passed, found.fault) == (False, "TooSlow")
    assert "at most 300.0 ms wanted" in found.detail


async def test_replay_counts_a_refused_sample_as_wrong(bench: Bench, model: Model) -> None:
    document = orjson.loads(golden(model))
    document["samples"][0]["inputs"][0]["name"] = "image"
    bench.samples.write_bytes(orjson.dumps(document))
    found = await bench.measure("SampleReplay", minAgreement="100%")
    assert found.detail.startswith("97.5% of 40 samples agree")
    assert "answered 400: the input is pixels of UINT8" in found.detail


async def test_replay_fails_when_no_samples_came_with_the_model(bench: Bench) -> None:
    bench.serves = Served(MODEL)
    assert (await bench.measure("SampleReplay", minAgreement="98%")).fault == "NoSamples"


async def test_replay_fails_when_the_file_is_gone_or_is_none(bench: Bench) -> None:
    bench.samples.write_bytes(b"{")
    assert (await bench.measure("SampleReplay", minAgreement="98%")).fault == "BadSamples"
    bench.samples.unlink()
    assert (await bench.measure("SampleReplay", minAgreement="98%")).fault == "FileNotFoundError"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "not a JSON object with samples"),
        ({"samples": []}, "there are 0 samples, not between 1 and 1000"),
        ({"samples": [{"inputs": [], "outputs": []}]}, "a sample needs inputs and golden outputs"),
        (
            {"samples": [{"inputs": [{"name": "x"}], "outputs": [{"name": "y", "data": [1]}]}]},
            "an input of a sample lacks data, datatype, shape",
        ),
        ({"samples": [{"inputs": [{}], "outputs": [{"name": "y", "data": [None]}]}]}, "None is no value of a tensor"),
        ({"tolerances": {"y": {"absolute": -1}}, "samples": []}, "a tolerance is a number from 0"),
        ({"tolerances": {"y": {"within": 1}}, "samples": []}, "a tolerance has absolute and relative, not within"),
    ],
)
def test_samples_are_refused_by_what_is_wrong_with_them(document: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        GoldenSamples.parse(orjson.dumps(document))


def test_tolerance_allows_what_is_close_and_never_what_is_no_number() -> None:
    assert Tolerance(absolute=0.11).allows(1.1, 1.0)
    assert not Tolerance(absolute=0.09).allows(1.1, 1.0)
    assert Tolerance(relative=0.1).allows(-110, -100)
    assert not Tolerance(absolute=1e9).allows(float("nan"), 1.0)
    assert not Tolerance(absolute=9).allows(True, 1)
    assert EXACT.allows("cat", "cat")
    assert not EXACT.allows("cat", "dog")
