"""A bridge as a fuzzer has it: requests from a thread of its own, every example as a device of its own."""

import asyncio
import copy
import json
from collections.abc import Coroutine
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self, TypeVar

import jsonschema
import requests
import schemathesis
from schemathesis import Case, Response
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from backstay.api.crds import crd
from backstay.api.edgedevice import EdgeDevice
from backstay.bridge.entrance import BASE
from backstay.bridge.openapi.document import document
from backstay.bridge.openapi.schemas import ANSWERS
from backstay.bridge.tokens import target_token
from backstay.core.devices import PlaneState
from tests.bridge.conftest import CONTENT, KEY, OLD, Json, World

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    unsupported_method,
]
SEMANTIC = ["304", "401", "404", "409", "410", "412", "416", "503"]
"""What may come of a request that is well formed, because of what the device is ordered, or has already."""
BYSTANDERS = ("idle", "offered", "begun")

FORM = jsonschema.Draft202012Validator(
    crd(EdgeDevice)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
)
"""What the API server takes as the status of a device."""

T = TypeVar("T")


class Situation(StrEnum):
    """Where a device is when it makes the request that is tried."""

    IDLE = "idle"
    OFFERED = "offered"
    BEGUN = "begun"
    REPLACED = "replaced"
    OVER = "over"


def schema(prefix: str = BASE) -> Any:
    """The document as a fuzzer reads it: strict about answers, in which nothing may be that it does not name."""
    found = json.loads(json.dumps(document()))
    for name in ANSWERS:
        _closed(found["components"]["schemas"][name])
    # In plain text is answered what is no HTTP, and that a fuzzer with a decent client cannot send.
    del found["components"]["responses"]["Error400"]["content"]["text/plain"]
    found["paths"] = {path: item for path, item in found["paths"].items() if path.startswith(prefix)}
    checks = {
        "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "503"]},
        "positive_data_acceptance": {"expected-statuses": ["2xx", *SEMANTIC]},
        "negative_data_rejection": {"expected-statuses": ["400", "401", "404", "405", "410", "503"]},
    }
    return schemathesis.openapi.from_dict(found, config=SchemathesisConfig.from_dict({"checks": checks}))


def operations() -> list[Any]:
    """Every operation of a device."""
    return [found.ok() for found in schema().get_all_operations()]


def _closed(node: Any) -> None:
    if isinstance(node, list):
        for item in node:
            _closed(item)
    elif isinstance(node, dict):
        if node.get("type") == "object" and "properties" in node:
            node.setdefault("additionalProperties", False)
        for item in node.values():
            _closed(item)


@dataclass
class Fuzzed:
    """The bridge, and what stood of every device when it was last right to change."""

    world: World
    loop: asyncio.AbstractEventLoop
    session: requests.Session = field(default_factory=requests.Session)
    stood: dict[str, Json] = field(default_factory=dict)
    spec: dict[str, Json] = field(default_factory=dict)
    known: dict[str, Any] = field(default_factory=dict)
    """What the bridge itself remembers of the bystanders."""
    answered: set[tuple[str, int]] = field(default_factory=set)
    """Which statuses came of which operations."""

    @classmethod
    async def beside_others(cls, world: World) -> Self:
        """A bridge with other devices, which nothing of what comes may change."""
        found = cls(world, asyncio.get_running_loop())
        world.order(name="cam-1")
        assert await world.offered()
        world.device("cam-1", desired=None)
        for situation in BYSTANDERS:
            name = f"other-{situation}"
            await found.placed(name, Situation(situation))
            body = {"data": {"VIN": name}}
            assert (await world.ask("PUT", "/configData", name=name, json=body)).status == 200
            found.known[name] = found.remembered(name)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    @property
    def url(self) -> str:
        """Where the bridge listens."""
        return str(self.world.client.make_url("")).rstrip("/")

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Let the bridge's own thread do something."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def new(self, situation: Situation) -> str:
        """A new device in a situation, made from the fuzzer's thread."""
        return self.run(self.placed(f"cam-{len(self.stood)}-{situation}", situation))

    async def placed(self, name: str, situation: Situation) -> str:
        """A new device in a situation."""
        self.world.device(name)
        if situation is not Situation.IDLE:
            self.world.order(1, name=name)
        if situation in {Situation.BEGUN, Situation.REPLACED, Situation.OVER}:
            assert await self.world.health(OLD, name=name) == 200
            assert await self._says(name, "proceeding", "none") == 200
        if situation is Situation.REPLACED:
            assert (await self.world.ask("GET", "/deploymentBase/1", name=name)).status == 200
            self.world.order(2, name=name)
        if situation is Situation.OVER:
            assert await self.world.health(CONTENT, name=name) == 200
            assert await self._says(name, "closed", "success") == 200
        self.note(name)
        return name

    async def ordered(self, name: str, number: int) -> None:
        """The operator has another order for a device."""
        self.world.order(number, name=name)
        self.note(name)

    async def _says(self, name: str, execution: str, finished: str) -> int:
        body = {"status": {"execution": execution, "result": {"finished": finished}}}
        return (await self.world.ask("POST", "/deploymentBase/1/feedback", name=name, json=body)).status

    def remembered(self, name: str) -> Any:
        """What a session holds, but for when the device was heard and what it may still ask."""
        one = self.world.bridge.sessions.of(name)
        journal = dict(self.world.bridge.journal.of(name))
        return copy.deepcopy((one.attributes, one.report, one.messages, one.orders, one.downloads, journal))

    def note(self, name: str) -> None:
        """This is how the device stands now."""
        self.stood[name] = copy.deepcopy(self.world.status(name))
        self.spec[name] = copy.deepcopy(self.world.api.objects["edgedevices"][name]["spec"])

    @staticmethod
    def token(name: str) -> dict[str, str]:
        """The header by which a device is let in."""
        return {"Authorization": f"TargetToken {target_token(KEY, name, 1)}"}

    def send(self, case: Case, name: str) -> Response:
        """Make a request as a device, and check the answer by the document, and the device by its request."""
        self.world.bridge.sessions.of(name).bucket.left = 200.0
        response = case.call_and_validate(self.url, self.session, self.token(name), CHECKS, allow_redirects=False)
        self.run(self.world.until_written())
        self.changed_rightly(case, name, response.status_code)
        self.answered.add((case.operation.label, response.status_code))
        return response

    def changed_rightly(self, case: Case, name: str, status: int) -> None:
        """A device changes only by a feedback that was taken, and then as the protocol has it."""
        before, now = self.stood[name], self.world.status(name)
        assert self.world.api.objects["edgedevices"][name]["spec"] == self.spec[name]
        if before == now:
            return
        assert case.method == "POST"
        assert case.path.endswith("/feedback")
        assert status == 200
        changed = {key for key in before.keys() | now.keys() if before.get(key) != now.get(key)}
        assert changed <= {"planes", "conditions", "health", "agent", "failingProbes"}, changed
        was, is_now = before.get("planes", {}).get("model", {}), now["planes"]["model"]
        assert str(is_now["step"]) == str(case.path_parameters["number"])
        assert _may_follow(was, is_now), (was, is_now)
        self.note(name)

    async def unharmed(self) -> None:
        """Nobody else has changed, everything written is as the CRD has it, and an ordinary device is served."""
        for name, status in self.stood.items():
            assert self.world.status(name) == status, name
        for name, known in self.known.items():
            assert self.remembered(name) == known, name
        self.world.time.seconds += 5
        await self.world.bridge.publisher._sweep()
        for name in self.stood:
            FORM.validate(self.world.status(name))
        await self._ordinary()

    async def _ordinary(self) -> None:
        """One device goes through a whole step, and its bytes are right."""
        name = await self.placed("ordinary", Situation.OFFERED)
        assert (await self.world.links(name))["deploymentBase"] == "/deploymentBase/1"
        await self.world.health(OLD, name=name)
        assert await self._says(name, "proceeding", "none") == 200
        path = "/softwaremodules/model/artifacts/model-7.2.0.bin"
        assert len(await (await self.world.ask("GET", path, name=name)).read()) == 10240
        await self.world.health(CONTENT, name=name)
        assert await self._says(name, "closed", "success") == 200
        assert self.world.model(name)["state"] == "Confirmed"


def _may_follow(was: Json, now: Json) -> bool:
    """Whether a plane may go from one status to the other by one feedback."""
    begun, same = was.get("state") == PlaneState.DOWNLOADING, was.get("step") == now["step"]
    if now["state"] == PlaneState.DOWNLOADING:
        return not begun and not same
    return PlaneState(now["state"]).is_answer and (begun or not same)
