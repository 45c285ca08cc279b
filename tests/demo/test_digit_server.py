"""The boxes' inference server answers a probe of a node as the protocol has it."""

import json
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import aiohttp
import pytest

from backstay.adapters.node.probes.registry import build
from backstay.adapters.node.probes.surroundings import Served, Surroundings
from backstay.core.device import Probe
from backstay.core.probing import Measurement
from demo.digit_server import Handler
from demo.model import FOR_BOXES, MISQUANTISED_FOR_BOXES, Recipe, golden_samples, train_model


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A server on loopback that serves what `current/current` holds."""
    (tmp_path / "current" / "current").mkdir(parents=True)

    class Here(Handler):
        models = tmp_path

    with ThreadingHTTPServer(("127.0.0.1", 0), Here) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


def use(models: Path, recipe: Recipe) -> Served:
    release = models / "current" / "current"
    (release / "model.bin").write_bytes(train_model(recipe).data)
    (release / "release.json").write_text(json.dumps({"version": recipe.version}))
    (release / "samples.json").write_bytes(golden_samples(recipe))
    return Served("digits", recipe.version, release / "samples.json")


async def measured(url: str, served: Served, kind: str, **settings: str) -> Measurement:
    async with aiohttp.ClientSession() as session:
        around = Surroundings(session, url, served=lambda: served)
        return await build(Probe("probe", kind, tuple(settings.items())), around).run()


async def test_server_is_ready_and_answers_its_samples_when_the_model_is_right(server: str, tmp_path: Path) -> None:
    assert (await measured(server, Served("digits"), "InferenceReady")).fault == "NotReady"
    served = use(tmp_path, FOR_BOXES)
    assert (await measured(server, served, "InferenceReady")).passed
    assert (await measured(server, served, "SampleReplay", minAgreement="100%")).passed


async def test_server_is_ready_and_wrong_when_the_zero_points_are_reversed(server: str, tmp_path: Path) -> None:
    served = use(tmp_path, MISQUANTISED_FOR_BOXES)
    assert (await measured(server, served, "InferenceReady")).passed
    assert (await measured(server, served, "SampleReplay", minAgreement="95%")).fault == "Disagrees"


async def test_server_refuses_samples_of_another_version(server: str, tmp_path: Path) -> None:
    served = use(tmp_path, FOR_BOXES)
    other = Served("digits", "3.1.0", served.samples)
    found = await measured(server, other, "SampleReplay", minAgreement="95%")
    assert (found.fault, "there is no /v2/models/digits/versions/3.1.0/infer here" in found.detail) == (
        "Disagrees",
        True,
    )
