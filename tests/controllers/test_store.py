"""What the store hands to decisions."""

from backstay.controllers.store import Store
from backstay.core.devices import DeviceName
from tests.controllers.test_shelf import hold


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
