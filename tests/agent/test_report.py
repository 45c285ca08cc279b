"""What a node says of itself: what it holds, and where the last step of each plane stands."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backstay.agent.mandate import Mandate, mandate_from
from backstay.agent.report import status_of
from backstay.api.device_status import Status, difference
from backstay.core.device import ProbeResult
from backstay.core.devices import PlaneState
from backstay.core.planes import Plane
from backstay.errors import Refused
from tests.agent.bench import Bench, digest, order

OLD, NEW = b"old model", b"new model"


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    """A node that runs a confirmed model, and is told that another is not what it should be."""
    made = Bench(tmp_path)
    await made.started()
    await made.carry_out(order(1, OLD), OLD)
    return made


def mandate(number: int, data: bytes, planes: dict[str, Any] | None = None, **desired: Any) -> Mandate:
    """The node's EdgeDevice with a step for the model, and what was written of it before."""
    step = {"number": number, "plane": "model", "type": "Install", "issued": "2026-01-05T12:00:00Z"}
    assignment = {"plan": "vision", "revision": "a-1", "version": "2.0.0-by-the-operator", "content": digest(data)}
    return mandate_from(
        {
            "metadata": {"name": "box-1", "namespace": "acme", "uid": "u", "generation": 4, "resourceVersion": "7"},
            "spec": {"class": "rk3566", "node": "n", "desired": {"model": assignment, "step": step, **desired}},
            "status": {"planes": planes or {}},
        }
    )


def reported(bench: Bench, found: Mandate, *health: ProbeResult) -> Status:
    return status_of(bench.machine, found, health, bench.time.now(), heard=True)


async def test_plane_is_what_the_node_holds_under_the_operators_name(bench: Bench) -> None:
    found = reported(bench, mandate(1, OLD)).plane(Plane.MODEL)
    assert (found.running, found.version) == (digest(OLD), "2.0.0-by-the-operator")
    assert (found.state, found.step, found.reason) == (PlaneState.CONFIRMED, 1, "")


async def test_advisory_probe_that_fails_is_told_and_speaks_against_nothing(bench: Bench) -> None:
    health = (ProbeResult("inference", passed=True), ProbeResult("heat", passed=False, advisory=True))
    found = reported(bench, mandate(1, OLD), *health)
    assert (found.health, found.failing, found.advisory) == ("Healthy", (), ("heat",))
    assert found.conditions["Ready"].holds
    assert difference(Status(), found)["health"] == {"state": "Healthy", "failing": [], "advisory": ["heat"]}
    assert difference(found, replace(found, advisory=()))["health"] == {"advisory": []}


def test_order_of_advisory_probes_alone_is_confirmed_by_the_connection() -> None:
    heat = {"name": "heat", "kind": "ThermalHeadroom", "advisory": True}
    found = mandate(1, OLD, probes=[heat]).order()
    assert found is not None
    assert [(probe.name, probe.advisory) for probe in found.probes] == [("heat", True), ("agent", False)]


async def test_step_is_begun_or_over_and_nothing_between(bench: Bench) -> None:
    bench.payloads[digest(NEW)] = NEW
    await bench.machine.order(order(2, NEW))
    begun = reported(bench, mandate(2, NEW)).plane(Plane.MODEL)
    await bench.fetch()
    assert bench.machine.entry(Plane.MODEL).progress.state is PlaneState.PENDING_CONFIRM
    on_trial = reported(bench, mandate(2, NEW)).plane(Plane.MODEL)
    assert [(one.state, one.step) for one in (begun, on_trial)] == [(PlaneState.DOWNLOADING, 2)] * 2
    assert (on_trial.running, on_trial.fallback) == (digest(NEW), digest(OLD))


async def test_step_that_was_begun_and_replaced_before_the_node_took_it_is_answered(bench: Bench) -> None:
    begun = {"model": {"state": "Downloading", "step": 2}}
    waits = reported(bench, mandate(2, NEW, begun)).plane(Plane.MODEL)
    assert (waits.state, waits.step) == (PlaneState.DOWNLOADING, 2)
    replaced = reported(bench, mandate(3, NEW, begun)).plane(Plane.MODEL)
    assert (replaced.state, replaced.step) == (PlaneState.FAILED, 2)
    assert replaced.reason.startswith("Canceled")


async def test_answer_keeps_its_time_when_it_is_only_said_again(bench: Bench) -> None:
    first = reported(bench, mandate(1, OLD)).plane(Plane.MODEL)
    assert first.since is not None
    written = {"model": {"state": "Confirmed", "step": 1, "since": "2026-01-01T00:00:00Z", "running": digest(OLD)}}
    again = reported(bench, mandate(1, OLD, written)).plane(Plane.MODEL)
    assert again.since is not None
    assert again.since.year == 2026
    assert again.since != first.since


async def test_health_is_unknown_until_a_probe_has_run(bench: Bench) -> None:
    assert reported(bench, mandate(1, OLD)).health == "Unknown"
    ill = reported(bench, mandate(1, OLD), ProbeResult("a", passed=True), ProbeResult("b", passed=False))
    assert (ill.health, ill.failing, ill.conditions["Ready"].reason) == ("Degraded", ("b",), "ProbesFailing")
    assert reported(bench, mandate(1, OLD), ProbeResult("a", passed=True)).conditions["Ready"].holds


def test_order_is_none_when_it_was_taken_back_before_it_was_begun() -> None:
    found = mandate(2, NEW)
    assert found.order() is not None
    taken = mandate(2, NEW, step={"number": 2, "plane": "model", "type": "Install", "withdrawn": True,
                                  "issued": "2026-01-05T12:00:00Z"})  # fmt: skip
    assert taken.order() is None


@pytest.mark.parametrize("desired", [{"window": "soon"}, {"probes": [{"name": "a"}]}, {"probes": ["a"]}])
def test_order_that_cannot_be_understood_is_refused_by_the_devices_name(desired: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="EdgeDevice box-1"):
        mandate(2, NEW, **desired)
