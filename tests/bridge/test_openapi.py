"""The document that the bridge publishes of itself: it is whole, current, and open to everybody."""

import json
from pathlib import Path

import pytest
import schemathesis

from backstay.api.generated import Drift
from backstay.bridge.entrance import BASE
from backstay.bridge.openapi.document import FILE, document, generated
from backstay.bridge.openapi.operations import PUBLISHED_AT
from backstay.bridge.openapi.schemas import ANSWERS, BODIES
from tests.bridge.conftest import World

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
FOR_PROMETHEUS = {("GET", "/metrics"), ("HEAD", "/metrics")}
METHODS = {"get", "head", "post", "put", "patch", "delete", "options", "trace"}


def documented() -> set[tuple[str, str]]:
    paths = document()["paths"].items()
    return {(method.upper(), path) for path, item in paths for method in item if method in METHODS}


async def test_document_names_exactly_the_paths_and_methods_that_the_bridge_has(world: World) -> None:
    routes = {
        (route.method, route.resource.canonical)
        for route in world.bridge.application.router.routes()
        if route.resource is not None
    }
    assert documented() == routes - FOR_PROMETHEUS


async def test_document_is_the_one_of_the_reference_and_open_to_strangers_when_a_bridge_shows_it(world: World) -> None:
    async with world.client.get(PUBLISHED_AT) as response:
        assert (response.status, response.content_type) == (200, "application/json")
        shown = await response.read()
    assert json.loads(shown) == json.loads((REFERENCE / FILE).read_text(encoding="utf-8"))
    world.order()
    await world.offered()
    for headers in ({}, {"Authorization": "TargetToken x"}, {"Host": "elsewhere"}):
        async with world.client.get(PUBLISHED_AT, headers=headers) as response:
            assert await response.read() == shown, "the same for everybody, whatever there is to tell"
    assert b"acme" not in shown
    async with world.client.head(PUBLISHED_AT) as response:
        assert (response.status, response.headers["Content-Length"]) == (200, str(len(shown)))
    async with world.client.post(PUBLISHED_AT) as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET,HEAD")


def test_reference_is_current_and_names_what_to_do_when_it_is_not(tmp_path: Path) -> None:
    generated().check(REFERENCE)
    generated().write(tmp_path)
    (tmp_path / FILE).write_text("{}")
    with pytest.raises(Drift, match=r"python -m backstay\.bridge\.openapi"):
        generated().check(tmp_path)


def test_document_is_openapi_by_the_words_of_its_specification() -> None:
    schemathesis.openapi.from_dict(json.loads(json.dumps(document()))).validate()


def test_document_uses_everything_that_it_defines() -> None:
    text = json.dumps(document())
    for kind, defined in document()["components"].items():
        for name in defined:
            assert (f'"#/components/{kind}/{name}"' in text) or f'"{name}": []' in text, f"{kind}/{name}"
    assert not BODIES.keys() & ANSWERS.keys()


def test_every_path_of_a_device_may_answer_that_nobody_is_known_there() -> None:
    for path, item in document()["paths"].items():
        for method in item.keys() & METHODS:
            assert ("401" in item[method]["responses"]) == path.startswith(BASE)
