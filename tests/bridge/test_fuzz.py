"""The whole surface against its own published document: whatever a device sends, it gets what the document says.

The requests are schemathesis's: right ones and wrong ones, of every path and method. They come with valid tokens, for a
device that has a step open, and some for paths that there are, so that they get behind the door.
"""

import asyncio
import copy
import os
from collections import defaultdict
from contextlib import nullcontext, suppress
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from prometheus_client.parser import text_string_to_metric_families
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from backstay.bridge import limits, openapi
from backstay.bridge.tokens import target_token
from tests.bridge.conftest import KEY, OLD, World

CHECKS: Any = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 300 if os.environ.get("BACKSTAY_HYPOTHESIS") == "long" else 30
REAL = {"tenant": "acme", "device": "cam-1", "number": "1", "module": "model"}
FILES = ("model-7.2.0.bin", "model-7.2.0.bin.MD5SUM")
SECONDS = 10


def test_document_describes_every_path_and_nothing_else(world: World) -> None:
    served = {
        (route.resource.canonical, route.method.lower())
        for route in world.client.server.app.router.routes()  # type: ignore[union-attr]
        if route.resource is not None and route.resource.canonical != "/metrics"
    }
    described = {
        (path, method)
        for path, operations in openapi.document()["paths"].items()
        for method in operations
        if method != "parameters"
    }
    assert served == described


async def test_document_is_served_to_everybody_as_it_lies_in_the_reference(world: World) -> None:
    response = await world.client.get(openapi.PATH)
    assert (response.status, await response.json()) == (200, openapi.document())
    openapi.generated().check(world.root / "docs" / "reference")


async def test_bridge_keeps_to_its_document_whatever_a_device_sends(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr(limits, "BURST", 1e9)
    world.bridge.sessions.of("cam-1").bucket.left = 1e9
    world.device("cam-2")
    await world.health(OLD, "cam-2")
    world.order()
    await world.offered()
    others = copy.deepcopy({**world.api.objects, "edgedevices": {"cam-2": world.api.objects["edgedevices"]["cam-2"]}})
    url = str(world.client.make_url("")).rstrip("/")
    await asyncio.get_running_loop().run_in_executor(None, _fuzz, url)

    assert world.api.objects["edgedevices"]["cam-2"] == others["edgedevices"]["cam-2"], "another device has changed"
    assert world.api.objects["holds"] == others["holds"]
    found = world.api.objects["edgedevices"]
    assert set(found) == {"cam-1", "cam-2"}
    assert found["cam-1"]["spec"].keys() == {"class", "gateway", "desired"}
    assert world.model().get("step", 0) in {0, 1}
    assert (await world.ask("GET", "", name="cam-2")).status == 200
    answered = await _answers(world)
    for route, statuses in REACHED.items():
        assert statuses <= answered[route], f"{route} gave only {sorted(answered[route])}"


# Without these answers the fuzz would have stood before a closed door.
REACHED = {
    "/": {"200", "401"},
    "/deploymentBase/{number}/feedback": {"200", "400", "401"},
    "/configData": {"200", "400"},
    "/health": {"200", "400"},
    "/confirmationBase": {"200"},
}


async def _answers(world: World) -> dict[str, set[str]]:
    """Every status that each route has given."""
    text = await (await world.client.get("/metrics")).text()
    found: defaultdict[str, set[str]] = defaultdict(set)
    for family in text_string_to_metric_families(text):
        if family.name == "backstay_bridge_requests":
            for sample in family.samples:
                found[sample.labels["route"]].add(sample.labels["status"])
    return found


def _fuzz(url: str) -> None:
    schema = schemathesis.openapi.from_dict(openapi.document())
    with requests.Session() as session:
        for result in schema.get_all_operations():
            operation = result.ok()
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                _fuzz_operation(url, session, operation, mode)


def _fuzz_operation(url: str, session: requests.Session, operation: Any, mode: GenerationMode) -> None:
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode), st.sets(st.sampled_from(sorted(REAL))), st.sampled_from(FILES))
    def conforms(case: Any, strange: set[str], file: str) -> None:
        for name in case.path_parameters or {}:
            # Mostly what there is, because of what there is not the bridge says only that.
            if name == "filename":
                case.path_parameters[name] = file
            elif len(strange) != 1 or name not in strange:
                case.path_parameters[name] = REAL[name]
        headers = {"Authorization": f"TargetToken {target_token(KEY, 'cam-1', 1)}"}
        response = case.call(base_url=url, session=session, headers=headers, timeout=SECONDS)
        case.validate_response(response, checks=CHECKS)

    # Where nothing is asked for there is nothing that could be asked for wrongly.
    with suppress(Unsatisfiable) if mode is GenerationMode.NEGATIVE else nullcontext():
        conforms()
