"""The whole surface of the bridge, fuzzed against the document that it publishes."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import jsonschema
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.core.parameters import ParameterLocation

from backstay.bridge import entrance
from backstay.bridge.attributes import LONGEST_KEY, LONGEST_VALUE, MOST_ATTRIBUTES
from backstay.bridge.entrance import BASE
from backstay.bridge.feedback import MOST_DETAILS
from backstay.bridge.health import MOST_PROBES
from backstay.bridge.limits import Bucket
from backstay.bridge.openapi.document import document
from backstay.bridge.openapi.schemas import ref
from tests.bridge.conftest import CONTENT, World
from tests.bridge.fuzzing import Fuzzed, Situation, operations

LONG = os.environ.get("BACKSTAY_HYPOTHESIS") == "long"
pytestmark = pytest.mark.timeout(1800 if LONG else 120)

POSITIVE, NEGATIVE = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
OURS = {"tenant": "acme", "device": "cam-1"}
FILE = {"module": "model", "filename": "model-7.2.0.bin"}

RANGES = st.from_regex(r"bytes=([0-9]{1,5}-([0-9]{1,5})?|-[0-9]{1,5})", fullmatch=True)
TAGS = st.sampled_from([f'"{CONTENT}"', f'W/"{CONTENT}"', "*", '"other"', f'"other", "{CONTENT}"'])
HEADERS = {"Range": RANGES, "If-Range": TAGS, "If-Match": TAGS, "If-None-Match": TAGS}
"""What a device that means it says in the headers that the document only calls texts."""


def bounded(examples: int) -> settings:
    """The same examples each time, but at night ten times as many, and others."""
    return settings(
        max_examples=examples * 10 if LONG else examples,
        derandomize=not LONG,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate, Phase.shrink] if LONG else [Phase.explicit, Phase.generate],
    )


@pytest.fixture
async def fuzzed(world: World) -> AsyncIterator[Fuzzed]:
    with await Fuzzed.beside_others(world) as found:
        yield found


def cases(operation: Any, mode: GenerationMode) -> st.SearchStrategy[Case]:
    """Requests of a device on one of its own actions and artifacts; right ones are sometimes on any other."""
    ours: list[dict[str, str]] = [{}]
    if "{number}" in operation.path:
        ours = [{"number": "1"}, {"number": "2"}]
    elif "{filename}" in operation.path:
        ours = [FILE, FILE | {"filename": f"{FILE['filename']}.MD5SUM"}]
    elif "{module}" in operation.path:
        ours = [{"module": "model"}]
    anything = [{}] if mode is POSITIVE else []
    return st.one_of([operation.as_strategy(mode, path_parameters=OURS | some) for some in [*ours, *anything]])


def headers(operation: Any) -> st.SearchStrategy[dict[str, str]]:
    """Some of the headers that the operation looks at."""
    return st.fixed_dictionaries(
        {}, optional={one.name: HEADERS[one.name] for one in operation.headers if one.name in HEADERS}
    )


def on_its_own_action(case: Case) -> Case:
    """A feedback that is right is on the action of its path."""
    if case.path.endswith("/feedback") and isinstance(case.body, dict) and "id" in case.body:
        case.body["id"] = case.path_parameters["number"]
    return case


async def test_bridge_answers_as_its_document_says_when_devices_send_what_is_right(fuzzed: Fuzzed) -> None:
    def fuzz(operation: Any) -> None:
        @bounded(20)
        @given(cases(operation, POSITIVE), headers(operation), st.sampled_from(Situation))
        def example(case: Case, said: dict[str, str], situation: Situation) -> None:
            case.headers.update(said)
            case.path_parameters["device"] = fuzzed.new(situation)
            fuzzed.send(on_its_own_action(case), case.path_parameters["device"])

        example()

    for operation in operations():
        await asyncio.to_thread(fuzz, operation)
    await fuzzed.unharmed()


async def test_bridge_refuses_as_its_document_says_when_devices_send_what_is_wrong(fuzzed: Fuzzed) -> None:
    def fuzz(operation: Any) -> None:
        @bounded(20)
        @given(cases(operation, NEGATIVE), st.sampled_from(Situation))
        def example(case: Case, situation: Situation) -> None:
            case.path_parameters["device"] = fuzzed.new(situation)
            fuzzed.send(case, case.path_parameters["device"])

        example()

    for operation in operations():
        # Of the others nothing but the path can be wrong.
        if operation.query or any(body.is_required for body in operation.body):
            await asyncio.to_thread(fuzz, operation)
    await fuzzed.unharmed()


async def test_bridge_answers_as_its_document_says_at_every_limit_of_it(fuzzed: Fuzzed) -> None:
    def fuzz(operation: Any) -> None:
        modes, generation = [POSITIVE, NEGATIVE], operation.schema.config.generation
        situation = Situation.BEGUN if operation.path.endswith("/feedback") else Situation.OFFERED
        for case in operation.schema.iter_coverage_cases(
            operation, generation_modes=modes, generation_config=generation
        ):
            name, part = fuzzed.new(situation), case.meta.components.get(ParameterLocation.PATH)
            if part is None or part.mode is POSITIVE:
                own = OURS | FILE | {"number": "1", "device": name}
                case.path_parameters |= {name: own[name] for name in case.path_parameters}
            fuzzed.send(on_its_own_action(case) if case.meta.generation.mode is POSITIVE else case, name)

    for operation in operations():
        await asyncio.to_thread(fuzz, operation)
    await fuzzed.unharmed()


async def test_device_changes_only_as_the_protocol_has_it_when_it_says_anything_in_any_order(fuzzed: Fuzzed) -> None:
    said = st.one_of([cases(operation, POSITIVE) for operation in operations()])
    ended = st.one_of([cases(operation, POSITIVE) for operation in operations() if operation.path.endswith("feedback")])
    steps = st.lists(said.map(on_its_own_action) | ended.map(on_its_own_action) | st.just("order"), max_size=8)

    @bounded(60)
    @given(steps)
    def story(told: list[Case | str]) -> None:
        name, number = fuzzed.new(Situation.OFFERED), 1
        for one in told:
            if isinstance(one, str):
                number += 1
                fuzzed.run(fuzzed.ordered(name, number))
            else:
                one.path_parameters["device"] = name
                fuzzed.send(one, name)

    await asyncio.to_thread(story)
    await fuzzed.unharmed()


async def test_feedback_changes_nothing_when_its_action_is_none_of_the_devices(fuzzed: Fuzzed) -> None:
    feedbacks = [operation for operation in operations() if operation.path.endswith("/feedback")]
    right = st.one_of([one.as_strategy(POSITIVE, path_parameters=OURS | {"number": "1"}) for one in feedbacks])
    # A point alone is taken out of a path by every client, and what is left is another one.
    words = st.text(min_size=1, max_size=20).filter(lambda word: word not in {"1", "2", ".", ".."})
    numbers = st.integers(3).map(str) | st.integers(max_value=0).map(str) | words.map(lambda word: quote(word, safe=""))

    @bounded(80)
    @given(right, numbers, st.sampled_from(Situation))
    def example(case: Case, number: str, situation: Situation) -> None:
        name = fuzzed.new(situation)
        before = fuzzed.remembered(name)
        case.path_parameters |= {"number": number, "device": name}
        response = fuzzed.send(on_its_own_action(case), name)
        assert response.status_code == 404
        assert fuzzed.remembered(name) == before
        assert fuzzed.world.status(name) == fuzzed.stood[name]

    await asyncio.to_thread(example)
    await fuzzed.unharmed()


async def test_token_opens_nothing_when_the_path_is_another_devices(fuzzed: Fuzzed) -> None:
    name = "other-offered"

    @bounded(80)
    @given(st.one_of([one.as_strategy(POSITIVE) for one in operations()]), st.booleans())
    def example(case: Case, neighbour: bool) -> None:
        if neighbour:
            case.path_parameters |= {"tenant": "acme", "device": "other-begun"}
        case.path_parameters |= {
            key: value for key, value in ({"number": "1"} | FILE).items() if key in case.path_parameters
        }
        response = fuzzed.send(case, name)
        assert response.status_code in ({401} if neighbour else {401, 404, 405})

    await asyncio.to_thread(example)
    await fuzzed.unharmed()


async def test_every_operation_is_closed_when_a_device_brings_no_token_or_a_wrong_one(fuzzed: Fuzzed) -> None:
    def ask_all() -> None:
        for operation in operations():
            path = operation.path.format(**OURS | FILE | {"number": "1"})
            for token in (None, "", "TargetToken", "TargetToken x", "GatewayToken x", "Bearer x", "Basic eDp4"):
                response = fuzzed.session.request(
                    operation.method, fuzzed.url + path, headers={} if token is None else {"Authorization": token}
                )
                operation.validate_response(response)
                assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "TargetToken")

    await asyncio.to_thread(ask_all)
    await fuzzed.unharmed()


async def test_every_status_that_the_document_names_comes_as_the_document_says(
    fuzzed: Fuzzed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entrance, "BODY_TIMEOUT_SECONDS", 0.2)
    by_label = {one.label: one for one in operations()}
    feedback = {"status": {"execution": "proceeding", "result": {"finished": "none"}}}
    artifact = "/softwaremodules/{module}/artifacts/{filename}"
    came: set[int] = set()

    def slowly() -> Iterator[bytes]:
        yield b"{"
        time.sleep(0.6)
        yield b"}"

    def ask(status: int, method: str, path: str, situation: Situation = Situation.OFFERED, **said: Any) -> str:
        operation, name = by_label[f"{method} {BASE}{path}"], fuzzed.new(situation)
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            fuzzed.world.bridge.sessions.of(name).bucket = Bucket(0.0, fuzzed.world.time.monotonic())
        url = fuzzed.url + operation.path.format(**OURS | FILE | {"number": "1", "device": name})
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            method = "DELETE"
        token = {} if status == HTTPStatus.UNAUTHORIZED else fuzzed.token(name)
        response = fuzzed.session.request(method, url, headers=token | said.pop("headers", {}), **said)
        assert response.status_code == status, (method, path, response.text)
        operation.validate_response(response)
        named = operation.definition.raw["responses"][str(status)]
        if "$ref" in named:
            named = document()["components"]["responses"][named["$ref"].rpartition("/")[2]]
        for one, header in named.get("headers", {}).items():
            assert one in response.headers or not header["required"]
            jsonschema.validate(response.headers.get(one), header["schema"] if one in response.headers else {})
        came.add(status)
        return response.headers.get("ETag", "")

    def ask_all() -> None:
        etag = ask(200, "GET", artifact)
        ask(206, "GET", artifact, headers={"Range": "bytes=0-9"})
        ask(304, "GET", artifact, headers={"If-None-Match": etag})
        ask(400, "POST", "/health", data=b"{")
        ask(401, "GET", "")
        ask(404, "GET", "/cancelAction/{number}")
        ask(405, "GET", artifact)
        ask(408, "PUT", "/configData", data=slowly())
        ask(409, "POST", "/confirmationBase/deactivateAutoConfirm")
        ask(410, "GET", "/deploymentBase/{number}", Situation.OVER)
        ask(412, "GET", artifact, headers={"If-Match": '"other"'})
        ask(413, "PUT", "/configData", data=b" " * (entrance.BODY_LIMIT_BYTES + 1))
        ask(416, "GET", artifact, headers={"Range": "bytes=99999-"})
        ask(429, "GET", "")
        fuzzed.world.api.up = False
        fuzzed.world.time.seconds += 61
        ask(503, "POST", "/deploymentBase/{number}/feedback", json=feedback)
        fuzzed.world.api.up = True

    await asyncio.to_thread(ask_all)
    assert came == {int(status) for one in operations() for status in one.definition.raw["responses"]}
    await fuzzed.world.bridge.orders.read()
    await fuzzed.unharmed()


async def test_bodies_are_taken_at_their_limits_and_refused_one_above(fuzzed: Fuzzed) -> None:
    probe = {"name": "camera", "passed": True}
    ended = {"execution": "closed", "result": {"finished": "none"}}
    going = {"execution": "proceeding", "result": {"finished": "none"}}
    limits: list[tuple[str, str, Callable[[int], object], int]] = [
        ("/health", "Health", lambda size: {"probes": [probe] * size}, MOST_PROBES),
        ("/health", "Health", lambda size: {"slot": "x" * size}, 32),
        ("/health", "Health", lambda size: {"agent": "x" * size}, 128),
        ("/configData", "Attributes", lambda size: {"data": {str(key): "" for key in range(size)}}, MOST_ATTRIBUTES),
        ("/configData", "Attributes", lambda size: {"data": {"x" * size: ""}}, LONGEST_KEY),
        ("/configData", "Attributes", lambda size: {"data": {"x": "x" * size}}, LONGEST_VALUE),
        (
            "/deploymentBase/1/feedback",
            "Feedback",
            lambda size: {"status": going | {"details": [""] * size}},
            MOST_DETAILS,
        ),
        ("/deploymentBase/1/feedback", "Feedback", lambda size: {"status": (going, ended)[size]}, 0),
    ]
    components = document()["components"]
    for path, form, body, limit in limits:
        documented = jsonschema.Draft202012Validator({**ref(form), "components": components})
        for size, right in ((limit, True), (limit + 1, False)):
            name = await fuzzed.placed(f"limit-{len(fuzzed.stood)}", Situation.BEGUN)
            method = "PUT" if form == "Attributes" else "POST"
            response = await fuzzed.world.ask(method, path, name=name, json=body(size))
            assert response.status == (200 if right else 400), (path, size)
            assert documented.is_valid(body(size)) == right, (path, size)
    await fuzzed.unharmed()
