"""What the store hands to decisions."""

import asyncio
from typing import Any

import pytest

from backstay.controllers.store import Store
from backstay.core.devices import Device, DeviceName
from backstay.core.plan import Count
from backstay.core.planes import Plane
from tests.api.test_conversion import written_plan
from tests.controllers.test_shelf import hold

Json = dict[str, Any]


def test_store_lets_an_unreadable_hold_stop_everything_rather_than_nothing() -> None:
    store = Store()
    store.holds.put(hold("a", "5", surprise=True))
    (found,) = store.holds_in("acme")
    assert found.covers_device(DeviceName("any"), {}, frozenset())
    assert not found.versions
    assert "unknown field" in found.reason


def test_store_wakes_every_plan_of_the_namespace_when_a_hold_comes() -> None:
    store = Store()
    mine, other = store.wakes.flag(("acme", "vision")), store.wakes.flag(("globex", "vision"))
    store.holds.put(hold("a", "5"))
    assert mine.is_set()
    assert not other.is_set()


def plan(name: str, created: str = "2026-01-05T12:00:00Z", *, generation: int = 1, **spec: object) -> Json:
    metadata = {
        "name": name,
        "namespace": "acme",
        "uid": f"uid-{name}",
        "resourceVersion": str(generation),
        "generation": generation,
        "creationTimestamp": created,
    }
    document = written_plan(**spec).to_document()
    return {**document, "metadata": metadata}


def test_store_lets_the_older_of_two_plans_go_first_and_by_name_when_they_came_together() -> None:
    store = Store()
    for one in (plan("b"), plan("c"), plan("a", "2026-01-06T12:00:00Z")):
        store.plans.put(one)
    first = {name: {rival.name for rival in store.rivals("acme", name) if rival.goes_first} for name in "abc"}
    assert first == {"a": {"b", "c"}, "b": set(), "c": {"b"}}


def test_store_knows_what_a_rival_wants() -> None:
    store = Store()
    store.plans.put(plan("a"))
    (rival,) = store.rivals("acme", "b")
    spec = written_plan().spec
    assert (rival.planes, rival.groups) == (frozenset(spec.versions.by_plane()), frozenset(spec.groups))


def test_store_lets_an_unreadable_rival_keep_what_it_has_and_take_nothing_more() -> None:
    store = Store()
    document = plan("a")
    document["spec"]["surprise"] = True
    store.plans.put(document)
    (rival,) = store.rivals("acme", "b")
    assert rival.planes == frozenset(Plane)
    assert not rival.groups
    assert not rival.goes_first


def test_store_wakes_the_other_plans_when_one_is_edited_and_not_when_only_its_status_changes() -> None:
    store = Store()
    store.plans.put(plan("a"))
    other = store.wakes.flag(("acme", "b"))
    status = plan("a")
    status["metadata"]["resourceVersion"] = "2"
    store.plans.put(status)
    assert not other.is_set()
    store.plans.put(plan("a", generation=3))
    assert other.is_set()


def group(**spec: object) -> Json:
    return {
        "kind": "DeviceGroup",
        "metadata": {"name": "cameras", "namespace": "acme", "resourceVersion": "1"},
        "spec": {"selector": {}, **spec},
    }


def test_store_counts_the_devices_of_a_group_that_are_changing_or_unhealthy() -> None:
    store = Store()
    store.groups.put(group(maxUnavailable=2))
    store.fleets.put(("acme", Device(DeviceName("well"), resource_version="1")))
    store.fleets.put(("acme", Device(DeviceName("ill"), resource_version="1", failing=("camera",))))
    rules = store.group_rules("acme")["cameras"]
    assert (rules.max_unavailable, rules.devices, rules.unavailable) == (Count(2), 2, 1)


def test_store_wakes_every_plan_when_a_device_of_a_bounded_group_settles_or_goes() -> None:
    store = Store()
    store.groups.put(group(maxUnavailable=1))
    store.fleets.put(("acme", Device(DeviceName("ill"), resource_version="1", failing=("camera",))))
    flag = store.wakes.flag(("acme", "vision"))
    store.fleets.put(("acme", Device(DeviceName("ill"), resource_version="2")))
    assert flag.is_set()
    flag.clear()
    store.fleets.remove("acme", "ill")
    assert flag.is_set()


async def test_store_lets_plans_take_turns_when_a_group_bounds_what_they_do_together() -> None:
    store = Store()
    store.groups.put(group(maxUnavailable=1))
    async with store.turn("acme"):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), store.turn("acme"):
                pass
        async with store.turn("globex"):
            pass
    async with store.turn("acme"):
        pass


async def test_store_lets_plans_decide_side_by_side_when_no_group_bounds_them() -> None:
    store = Store()
    store.groups.put(group())
    async with asyncio.timeout(1), store.turn("acme"), store.turn("acme"):
        pass
