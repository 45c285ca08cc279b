from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.core.devices import Device, DeviceName
from backstay.core.revision import Segment
from backstay.core.segments import CHANCE, concentration


def devices(count: int, first: int = 0, **labels: str) -> list[Device]:
    return [Device(DeviceName(f"cam-{index:02}"), labels) for index in range(first, first + count)]


NEW = devices(4, hardware="rev-b", region="eu")
OLD = devices(16, 4, hardware="rev-a", region="eu")


def test_failures_concentrate_on_the_label_that_sets_them_apart() -> None:
    assert concentration(NEW, [*NEW, *OLD]) == Segment("hardware", "rev-b")
    assert str(Segment("hardware", "rev-b")) == "hardware=rev-b"


def test_failures_concentrate_on_nothing_when_only_one_device_fails() -> None:
    assert concentration(NEW[:1], [*NEW, *OLD]) is None
    assert concentration([], [*NEW, *OLD]) is None


def test_two_failures_are_enough_when_few_others_share_their_label() -> None:
    assert concentration(NEW[:2], [*NEW, *OLD]) == Segment("hardware", "rev-b")


def test_failures_concentrate_on_nothing_when_they_share_no_label() -> None:
    assert concentration([*NEW, OLD[0]], [*NEW, *OLD]) is None
    assert concentration([*devices(2), *NEW], [*NEW, *OLD]) is None


def test_failures_concentrate_on_nothing_when_all_devices_have_the_label() -> None:
    assert concentration(OLD, OLD) is None


def test_failures_concentrate_on_nothing_when_chance_alone_may_put_them_there() -> None:
    few = [*NEW, *devices(4, 30, hardware="rev-a", region="eu")]
    assert Fraction(comb(4, 2), comb(8, 2)) > CHANCE
    assert concentration(NEW[:2], few) is None


def test_failures_concentrate_on_nothing_when_chance_is_exactly_at_its_limit() -> None:
    same, other = devices(3, hardware="rev-b"), devices(3, 3, hardware="rev-a")
    assert Fraction(comb(3, 3), comb(6, 3)) == CHANCE
    assert concentration(same, [*same, *other]) is None
    assert concentration(same, [*same, *other, *devices(1, 6)]) == Segment("hardware", "rev-b")


def test_failures_concentrate_on_the_label_that_the_fewest_changed_devices_share() -> None:
    failing = devices(3, region="eu", site="berlin")
    others = [*devices(2, 10, region="eu", site="paris"), *devices(30, 20, region="us", site="austin")]
    assert concentration(failing, [*failing, *others]) == Segment("site", "berlin")


def test_failures_concentrate_on_the_first_label_by_name_when_two_are_shared_alike() -> None:
    failing = devices(3, site="berlin", customer="acme")
    assert concentration(failing, [*failing, *OLD]) == Segment("customer", "acme")


@pytest.mark.parametrize("reverse", [False, True])
def test_concentration_does_not_depend_on_the_order_of_the_devices(reverse: bool) -> None:
    changed = sorted([*NEW, *OLD], key=lambda device: device.name, reverse=reverse)
    failing = sorted(NEW, key=lambda device: device.name, reverse=not reverse)
    assert concentration(iter(failing), iter(changed)) == Segment("hardware", "rev-b")


@given(
    st.lists(st.fixed_dictionaries({"a": st.sampled_from("xyz"), "b": st.sampled_from("xy")}), max_size=20), st.data()
)
def test_every_failing_device_lies_in_the_segment(labels: list[dict[str, str]], data: st.DataObject) -> None:
    changed = [Device(DeviceName(str(index)), one) for index, one in enumerate(labels)]
    failing = [device for device in changed if data.draw(st.booleans())]
    found = concentration(failing, changed)
    if found is not None:
        assert all(device.labels[found.key] == found.value for device in failing)
        assert any(device.labels[found.key] != found.value for device in changed)
