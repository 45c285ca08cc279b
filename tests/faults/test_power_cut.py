"""Power lost at every flash operation of every kind of install, whole and torn (promises 1, 3 and 5)."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backstay.core.device import Order
from backstay.core.devices import PlaneState
from backstay.core.planes import Plane
from backstay.simulate.flash import PowerCut
from backstay.simulate.image import Behaviour
from tests.simulate.workbench import Bench, config, image, model, order

Change = tuple[Order, bytes]

GOOD: dict[str, Change] = {
    "firmware": (order(1, Plane.FIRMWARE, image("1.1.0"), "1.1.0"), image("1.1.0")),
    "model": (order(1, Plane.MODEL, model(2), "1.1.0"), model(2)),
    "config": (order(1, Plane.CONFIG, config(0.6), "1.1.0"), config(0.6)),
}
BAD: dict[str, Change] = {
    "firmware": (order(1, Plane.FIRMWARE, x := image("1.1.0", Behaviour.CAMERA_FAILS), "1.1.0"), x),
    "model": (order(1, Plane.MODEL, y := model(2, wrong=True), "1.1.0"), y),
}


def carry_out(bench: Bench, change: Change) -> None:
    """Install and wait for the end; powered on again after a cut, the device finishes by itself what it had begun."""
    ordered, payload = change
    try:
        bench.install(ordered, payload)
        bench.settle()
    except PowerCut:
        recover(bench)


def recover(bench: Bench) -> None:
    try:
        bench.power_on()
        bench.check_whole()
    except PowerCut:
        recover(bench)


def operations_of(change: Change) -> int:
    bench = Bench()
    before = bench.flash.operations
    carry_out(bench, change)
    return bench.flash.operations - before


def cuts(changes: dict[str, Change]) -> Iterator[tuple[str, float]]:
    for name in changes:
        for torn in (0.0, 0.3, 0.99, 1.0):
            yield name, torn


@pytest.mark.parametrize(("name", "torn"), list(cuts(GOOD)))
def test_device_keeps_the_old_or_the_new_when_power_goes_at_any_operation(name: str, torn: float) -> None:
    change = GOOD[name]
    total = operations_of(change)
    assert total > 10
    for cut in range(total):
        bench = Bench()
        bench.flash.cut_power(cut, torn)
        carry_out(bench, change)
        bench.check_whole()
        plane = change[0].plane
        assert bench.running(plane) in ("1.0.0", "1.1.0"), cut
        assert all(bench.running(other) == "1.0.0" for other in Plane if other is not plane), cut
        finish(bench, change)
        assert bench.running(plane) == ("1.1.0" if bench.state(plane) is PlaneState.CONFIRMED else "1.0.0"), cut


@pytest.mark.parametrize(("name", "torn"), list(cuts(BAD)))
def test_device_ends_with_the_old_when_power_goes_at_any_operation_of_a_bad_change(name: str, torn: float) -> None:
    change = BAD[name]
    for cut in range(operations_of(change)):
        bench = Bench()
        bench.flash.cut_power(cut, torn)
        carry_out(bench, change)
        bench.check_whole()
        finish(bench, change)
        assert bench.running(change[0].plane) == "1.0.0", cut
        assert bench.state(change[0].plane) is PlaneState.ROLLED_BACK, cut
        bench.power_on()
        bench.check_whole()
        assert bench.running(change[0].plane) == "1.0.0", cut


def finish(bench: Bench, change: Change) -> None:
    """Let the bridge deliver the step again, as it does until it is answered."""
    bench.install(*change)
    bench.settle()
    bench.check_whole()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 60), st.floats(0, 1)), max_size=6), st.sampled_from(sorted(GOOD)))
def test_device_recovers_when_power_goes_again_and_again(blackouts: list[tuple[int, float]], name: str) -> None:
    bench = Bench()
    for at, torn in blackouts:
        bench.flash.cut_power(at, torn)
        carry_out(bench, GOOD[name])
        bench.check_whole()
    bench.flash.cut_power(10_000_000)
    finish(bench, GOOD[name])
    plane = GOOD[name][0].plane
    assert bench.running(plane) == ("1.1.0" if bench.state(plane) is PlaneState.CONFIRMED else "1.0.0")
