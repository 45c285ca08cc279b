"""A config on a node: refused by name before anything uses it, and never torn on the way there and back."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from backstay.adapters.node import configs
from backstay.adapters.node.configs import bad_values
from backstay.adapters.node.generations import Generations
from backstay.core.planes import Plane
from backstay.ports.installer import Beside, CannotInstall
from tests.adapters.node.test_generations import artifact, digest, order

SCHEMA = {"type": "object", "properties": {"thresholds": {"additionalProperties": {"type": "number", "maximum": 1}}}}


class Shelf:
    """The configs of one node."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = Generations(Plane.CONFIG, directory / "config", "config.json", bad_values)

    async def stage(self, values: bytes, number: int, schema: object = SCHEMA) -> None:
        payload, written = self.directory / f"values-{number}", self.directory / "schema"
        payload.write_bytes(values)
        written.write_text(json.dumps(schema))
        beside = Beside() if schema is None else Beside(schema=written)
        described = replace(artifact(values), plane=Plane.CONFIG)
        await self.store.stage(replace(order(values, number), plane=Plane.CONFIG), described, payload, beside)

    async def use(self, values: bytes, number: int) -> None:
        await self.stage(values, number)
        step = replace(order(values, number), plane=Plane.CONFIG)
        await self.store.switch(step)
        await self.store.confirm(step)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def values(confidence: float, padding: int = 0) -> bytes:
    return json.dumps({"thresholds": {"confidence": confidence}, "padding": "x" * padding}).encode()


@pytest.mark.parametrize(
    ("config", "schema", "said"),
    [
        (values(2), SCHEMA, "config: 2 is greater than the maximum of 1 at /thresholds/confidence"),
        (b"{", SCHEMA, "config: the config is not JSON"),
        (values(0.5), {"type": "nonsense"}, "config: its schema is not a JSON Schema"),
        (values(0.5), None, "config: it came without the JSON Schema"),
    ],
)
async def test_config_is_refused_by_name_and_what_is_used_stays(
    shelf: Shelf, config: bytes, schema: object, said: str
) -> None:
    await shelf.use(values(0.1), 1)
    with pytest.raises(CannotInstall, match=f"Rejected: {said}"):
        await shelf.stage(config, 2, schema)
    found = await shelf.store.look()
    assert found.running is not None
    assert (found.running.content, found.held) == (digest(values(0.1)), frozenset())
    assert shelf.store.file.read_bytes() == values(0.1)


async def test_check_ends_when_a_schema_has_an_expression_without_an_end(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configs, "SECONDS", 1.0)
    schema = {"properties": {"padding": {"pattern": "^(x+x+)+y$"}}}
    with pytest.raises(CannotInstall, match="could not be checked by its schema: no verdict within 1 s"):
        await shelf.stage(values(0.5, 100), 1, schema)


async def test_config_is_one_or_the_other_for_a_reader_while_it_is_switched_and_reverted(shelf: Shelf) -> None:
    old, new = values(0.1, 300_000), values(0.9, 300_000)
    await shelf.use(old, 1)
    await shelf.stage(new, 2)
    seen: set[bytes] = set()
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            seen.add(shelf.store.file.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(2, 22):
            await shelf.store.switch(replace(order(new, number), plane=Plane.CONFIG))
            assert shelf.store.file.read_bytes() == new
            await shelf.store.fall_back()
            assert shelf.store.file.read_bytes() == old, "it is back as soon as falling back has returned"
    finally:
        over.set()
        reader.join()
    assert seen == {old, new}
