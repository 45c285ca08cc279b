"""Golden samples on a node: kept with the release that they came with, read before it is used, and never trusted."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.adapters.node.generations import Generations
from backstay.adapters.node.models import bad_samples, served
from backstay.adapters.node.probes.samples import LARGEST_BYTES, GoldenSamples
from backstay.adapters.node.probes.surroundings import Served
from backstay.core.device import Order
from backstay.core.needs import ServedAs
from backstay.core.planes import Plane
from backstay.ports.installer import Beside, CannotInstall
from tests.adapters.node.test_generations import artifact, order

TENSOR = {"name": "pixels", "shape": [1, 1], "datatype": "UINT8", "data": [[7]]}
WORDS = st.text(max_size=3)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)


def samples(digit: int) -> bytes:
    return json.dumps({"samples": [{"inputs": [TENSOR], "outputs": [{"name": "digit", "data": [digit]}]}]}).encode()


class Shelf:
    """The models of one node."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = Generations(Plane.MODEL, directory / "model", "model.bin", bad_samples)

    async def stage(
        self, payload: bytes, golden: bytes | None, number: int, name: str | None = "digits/1.0.0"
    ) -> Order:
        step, described, beside = order(payload, number), artifact(payload), Beside()
        path = self.directory / hashlib.sha256(payload).hexdigest()
        path.write_bytes(payload)
        if golden is not None:
            file = self.directory / "fetched-samples"
            file.write_bytes(golden)
            beside = Beside(file)
        named = replace(described, served=None if name is None else ServedAs.parse(name))
        await self.store.stage(step, named, path, beside)
        return step

    async def use(self, payload: bytes, golden: bytes | None, number: int, name: str | None = "digits/1.0.0") -> None:
        step = await self.stage(payload, golden, number, name)
        await self.store.switch(step)
        await self.store.confirm(step)

    @property
    def served(self) -> Served | None:
        return served(self.directory / "model")


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


async def test_samples_follow_the_model_that_runs_there_and_back(shelf: Shelf) -> None:
    assert shelf.served is None
    await shelf.use(b"one", samples(1), 1)
    await shelf.store.switch(await shelf.stage(b"two", samples(2), 2, "digits/2.0.0"))
    found = shelf.served
    assert found is not None
    assert (found.model, found.version) == ("digits", "2.0.0")
    assert found.samples is not None
    assert found.samples.read_bytes() == samples(2)
    assert found.samples.stat().st_mode & 0o222 == 0
    await shelf.store.fall_back()
    back = shelf.served
    assert back is not None
    assert back.samples is not None
    assert (back.version, back.samples.read_bytes()) == ("1.0.0", samples(1))
    assert found.samples.read_bytes() == samples(2), "what a replay has begun with stays what it was"


async def test_model_is_served_without_samples_or_a_version_when_its_artifact_has_none(shelf: Shelf) -> None:
    await shelf.use(b"one", None, 1, "digits")
    assert shelf.served == Served("digits")
    await shelf.use(b"two", None, 2, None)
    assert shelf.served is None


@pytest.mark.parametrize(
    ("golden", "said"),
    [
        (b"{", "golden samples: the samples are not a JSON object"),
        (b'{"samples": []}', "golden samples: there are 0 samples"),
        (b" " * (LARGEST_BYTES + 1), "golden samples: the samples are 4194305 bytes, at most 4194304 are read"),
        (
            json.dumps({"samples": [{"inputs": [TENSOR], "outputs": [{"name": "y", "data": None}]}]})
            .replace("null", "[" * 1000 + "]" * 1000)
            .encode(),
            "golden samples: ",
        ),
    ],
)
async def test_bad_samples_are_refused_by_name_and_what_runs_stays(shelf: Shelf, golden: bytes, said: str) -> None:
    await shelf.use(b"one", samples(1), 1)
    with pytest.raises(CannotInstall, match=f"Rejected: {said}"):
        await shelf.stage(b"two", golden, 2)
    found = await shelf.store.look()
    assert found.running is not None
    assert (found.running.content, found.held) == (order(b"one").content, frozenset())


@given(st.one_of(st.binary(max_size=40), st.builds(lambda found: json.dumps(found).encode(), JSON)))
def test_samples_are_read_or_refused_whatever_they_are(data: bytes) -> None:
    try:
        GoldenSamples.parse(data)
    except ValueError:
        return
    raise AssertionError(f"{data!r} has no sample in it")


@given(JSON, JSON, JSON)
def test_samples_are_read_or_refused_whatever_stands_in_their_fields(
    inputs: object, outputs: object, more: object
) -> None:
    document = {"samples": [{"inputs": inputs, "outputs": outputs}, more], "tolerances": more}
    try:
        found = GoldenSamples.parse(json.dumps(document).encode())
    except ValueError:
        return
    assert found.samples
