"""What Argo CD shows of our kinds and lets people do, run by its own engine."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from backstay.api import EdgeDevice, Hold, ReleasePlan
from backstay.core.requests import Request, parse_request
from backstay.core.revision import Phase
from tests.contracts.argocd import Engine, ScriptFailedError

SCRIPTS = Path(__file__).parents[2] / "manifests" / "argocd" / "resource_customizations" / "backstay.dev"
PLAN = SCRIPTS / "ReleasePlan"
KINDS = ["DeviceGroup", "EdgeDevice", "HealthRule", "Hold", "ReleasePlan"]
MODELS = {"ReleasePlan": ReleasePlan, "Hold": Hold, "EdgeDevice": EdgeDevice}

Json = dict[str, Any]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    started = Engine.start()
    yield started
    started.close()


def health_cases() -> list[Any]:
    found = []
    for kind in KINDS:
        for case in yaml.safe_load((SCRIPTS / kind / "health_test.yaml").read_text())["tests"]:
            name = f"{kind}-{Path(case['inputPath']).stem}"
            found.append(pytest.param(kind, SCRIPTS / kind / case["inputPath"], case["healthStatus"], id=name))
    return found


def action_cases() -> list[Any]:
    cases = yaml.safe_load((PLAN / "actions" / "action_test.yaml").read_text())["discoveryTests"]
    return [
        pytest.param(PLAN / "actions" / one["inputPath"], one["result"], id=Path(one["inputPath"]).stem)
        for one in cases
    ]


def read(path: Path) -> Json:
    return dict(yaml.safe_load(path.read_text()))


def plan(name: str) -> Json:
    return read(PLAN / "testdata" / f"{name}.yaml")


def act(engine: Engine, verb: str, found: Json) -> Json:
    return engine.act((PLAN / "actions" / verb / "action.lua").read_text(), found)


@pytest.mark.parametrize(("kind", "path", "expected"), health_cases())
def test_health_is_what_the_cases_of_a_kind_say(engine: Engine, kind: str, path: Path, expected: Json) -> None:
    found = read(path)
    if kind in MODELS:
        MODELS[kind].from_document(found)
    assert engine.health((SCRIPTS / kind / "health.lua").read_text(), found) == expected


@pytest.mark.parametrize(("path", "expected"), action_cases())
def test_actions_are_offered_that_the_operator_would_take(engine: Engine, path: Path, expected: list[Json]) -> None:
    offered = engine.actions((PLAN / "actions" / "discovery.lua").read_text(), read(path))
    assert offered == {one["name"]: not one["disabled"] for one in expected}
    assert set(offered) == {folder.name for folder in (PLAN / "actions").iterdir() if folder.is_dir()}


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_has_a_health_of_its_own_when_nothing_more_is_known(engine: Engine, phase: Phase) -> None:
    found = plan("rolling")
    found["status"] |= {"phase": phase.value, "conditions": []}
    status = engine.health((PLAN / "health.lua").read_text(), found)["status"]
    bad = {Phase.HALTED, Phase.ROLLING_BACK, Phase.VERIFYING, Phase.ROLLED_BACK, Phase.UNRESOLVED}
    assert status == ("Degraded" if phase in bad else "Healthy" if phase is Phase.SUCCEEDED else "Progressing")


@pytest.mark.parametrize(
    ("verb", "name", "ring"),
    [
        ("approve", "approval", "everyone"),
        ("retry", "rolled-back", "-"),
        ("rollback", "succeeded", "-"),
        ("resume", "halted", "-"),
    ],
)
def test_action_asks_as_the_operator_and_its_policy_want_it(engine: Engine, verb: str, name: str, ring: str) -> None:
    before = plan(name)
    after = act(engine, verb, before)
    asked = after["metadata"]["annotations"]
    request = parse_request(asked["backstay.dev/request"], asked["backstay.dev/requested-by"])
    assert isinstance(request, Request)
    assert (request.verb, request.revision, request.ring) == (verb, "0ff0650b3c-3", ring)
    assert request.nonce.endswith("-4711")
    assert request.by == "system:serviceaccount:argocd:argocd-server"
    after["metadata"].pop("annotations")
    after["spec"].pop("paused", None)
    assert after == before, "nothing else changes"


def test_first_ring_is_approved_when_none_has_been_reached(engine: Engine) -> None:
    found = plan("approval")
    found["status"] |= {"phase": "Pending", "ring": "internal"}
    assert "/internal/" in act(engine, "approve", found)["metadata"]["annotations"]["backstay.dev/request"]


def test_plan_is_paused_and_goes_on_by_its_spec(engine: Engine) -> None:
    found = plan("rolling")
    paused = act(engine, "pause", found)
    assert paused["spec"]["paused"] is True
    resumed = act(engine, "resume", paused)
    assert resumed["spec"]["paused"] is False
    assert "annotations" not in resumed["metadata"], "a plan that only was paused is asked nothing"


def test_engine_has_no_standard_libraries_and_names_what_is_wrong(engine: Engine) -> None:
    with pytest.raises(ScriptFailedError, match="nil"):
        engine.health("return {status = string.upper('healthy')}", {})


def test_config_map_is_made_of_the_scripts() -> None:
    data = read(SCRIPTS.parents[1] / "argocd-cm.yaml")["data"]
    for kind in KINDS:
        assert (
            data[f"resource.customizations.health.backstay.dev_{kind}"] == (SCRIPTS / kind / "health.lua").read_text()
        )
    actions = yaml.safe_load(data["resource.customizations.actions.backstay.dev_ReleasePlan"])
    assert actions["discovery.lua"] == (PLAN / "actions" / "discovery.lua").read_text()
    written = {one["name"]: one["action.lua"] for one in actions["definitions"]}
    assert written == {path.parent.name: path.read_text() for path in (PLAN / "actions").glob("*/action.lua")}


def test_callers_stand_in_one_line_of_each_action_that_asks() -> None:
    for verb in ("approve", "resume", "retry", "rollback"):
        text = (PLAN / "actions" / verb / "action.lua").read_text()
        assert re.findall(r"^local caller = .*$", text, re.MULTILINE), verb
