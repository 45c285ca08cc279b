"""What the store shows to those who only look."""

from dataclasses import replace

import pytest

from backstay.controllers.overview import StoreOverview
from backstay.controllers.store import Store
from backstay.core.actions import Decision
from backstay.core.devices import Device, DeviceName, PlaneStatus
from backstay.core.planes import ContentDigest, Plane
from backstay.core.selectors import Selector
from backstay.core.standing import Standing
from backstay.ports.overview import Decided, Wanted
from tests.controllers.test_shelf import hold
from tests.controllers.test_store import plan


def device(name: str, version: str = "1", **changes: object) -> Device:
    status = PlaneStatus(ContentDigest(f"sha256:{version}"), version)
    made = Device(DeviceName(name), {"region": "eu"}, planes={Plane.MODEL: status}, resource_version="1")
    return replace(made, **changes)  # type: ignore[arg-type]


def store_with(*devices: Device) -> Store:
    store = Store()
    for one in devices:
        store.fleets.put(("acme", one))
    return store


FIVE = tuple(device(name) for name in ("b", "d", "a", "e", "c"))


async def names(store: Store, wanted: Wanted = Wanted(), **how: object) -> tuple[str, str | None]:  # noqa: B008
    page = await StoreOverview(store).devices("acme", wanted, **how)  # type: ignore[arg-type]
    return "".join(one.name for one in page.devices), page.following


async def test_devices_come_by_name_a_page_at_a_time() -> None:
    store = store_with(*FIVE)
    assert await names(store, limit=2) == ("ab", "b")
    assert await names(store, after="b", limit=2) == ("cd", "d")
    assert await names(store, after="d", limit=2) == ("e", None)
    assert await names(store, limit=5) == ("abcde", None)


async def test_devices_come_backwards_when_asked_to() -> None:
    store = store_with(*FIVE)
    assert await names(store, limit=2, backwards=True) == ("ed", "d")
    assert await names(store, after="d", limit=4, backwards=True) == ("cba", None)


async def test_next_page_begins_where_the_last_ended_when_that_device_is_gone() -> None:
    store = store_with(*FIVE)
    store.fleets.remove("acme", "b")
    assert await names(store, after="b", limit=2) == ("cd", "d")


async def test_device_that_comes_or_goes_is_seen_by_the_next_reader() -> None:
    store = store_with(*FIVE)
    assert (await names(store))[0] == "abcde"
    store.fleets.put(("acme", device("aa")))
    store.fleets.remove("acme", "c")
    assert (await names(store))[0] == "aaabde"


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(begins="cam-1"), ["cam-1", "cam-10"]),
        (Wanted(labels={"region": "us"}), ["cam-2"]),
        (Wanted(labels={"region": "eu", "site": "4"}), []),
        (Wanted(standing=Standing.UNHEALTHY), ["cam-10"]),
        (Wanted(version="2"), ["cam-10", "cam-2"]),
        (Wanted(plane=Plane.FIRMWARE, version="2"), []),
        (Wanted(group="doors"), ["door"]),
        (Wanted(begins="cam", version="2", standing=Standing.HEALTHY), ["cam-2"]),
    ],
)
async def test_devices_are_found_by_everything_that_is_asked_at_once(wanted: Wanted, found: list[str]) -> None:
    store = store_with(
        device("cam-1"),
        device("cam-10", "2", failing=("disk",)),
        device("cam-2", "2", labels={"region": "us"}),
        device("door", labels={"kind": "door"}),
    )
    store.fleets.set_group("acme", "doors", Selector.labels(kind="door"))
    page = await StoreOverview(store).devices("acme", wanted)
    assert [one.name for one in page.devices] == found


def test_namespace_is_known_by_any_of_its_objects() -> None:
    store = store_with(device("a"))
    store.holds.put(hold("stop", "5"))
    store.plans.put({**plan("vision"), "metadata": {**plan("vision")["metadata"], "namespace": "borealis"}})
    assert StoreOverview(store).namespaces() == ("acme", "borealis")
    store.fleets.remove("acme", "a")
    store.holds.remove("acme", "stop")
    assert StoreOverview(store).namespaces() == ("borealis",)


def test_unreadable_object_is_shown_with_its_problem() -> None:
    store = Store()
    store.holds.put(hold("odd", "5", surprise=True))
    (known,) = StoreOverview(store).holds("acme")
    assert known.model is None
    assert "unknown field" in known.problem


def test_changes_grow_with_whatever_is_known_of_a_namespace_and_of_no_other() -> None:
    store, seen = Store(), []
    overview = StoreOverview(store)
    for change in (
        lambda: store.plans.put(plan("vision")),
        lambda: store.holds.put(hold("stop", "6")),
        lambda: store.fleets.put(("acme", device("a"))),
        lambda: store.fleets.put(("acme", device("a", resource_version="2", failing=("disk",)))),
        lambda: store.note("acme", "vision", Decided(None, None)),  # type: ignore[arg-type]
        lambda: store.fleets.remove("acme", "a"),
        lambda: store.plans.remove("acme", "vision"),
    ):
        before = overview.changes("acme")
        change()
        seen.append(overview.changes("acme") > before)
    assert all(seen)
    assert overview.changes("borealis") == 0


def test_decision_is_forgotten_with_its_plan() -> None:
    store = Store()
    store.plans.put(plan("vision"))
    decided = Decided(None, Decision(None, (), None, ()))  # type: ignore[arg-type]
    store.note("acme", "vision", decided)
    assert StoreOverview(store).decided("acme", "vision") is decided
    store.plans.remove("acme", "vision")
    assert StoreOverview(store).decided("acme", "vision") is None


def test_looking_at_a_namespace_that_is_not_there_leaves_nothing_behind() -> None:
    store = Store()
    overview = StoreOverview(store)
    assert overview.device("nowhere", DeviceName("a")) is None
    assert overview.census("nowhere").devices == 0
    assert overview.plans("nowhere") == ()
    assert overview.namespaces() == ()
    assert "nowhere" not in store.fleets._devices
