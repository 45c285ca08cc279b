"""What a device is told to check before it confirms."""

from backstay.api.healthrule import HealthRuleSpec
from backstay.controllers.probes import probes_for


def rules(**probes: list[dict[str, object]]) -> dict[str, HealthRuleSpec]:
    return {name: HealthRuleSpec.from_document({"probes": listed}) for name, listed in probes.items()}


def test_device_is_always_asked_whether_it_reaches_home() -> None:
    assert probes_for("esp32", {}) == [{"name": "agent", "kind": "AgentConnected"}]


def test_probe_goes_to_the_device_without_what_is_not_its_business() -> None:
    camera = {"name": "camera", "kind": "InputPresent", "input": "camera0", "blames": ["firmware"], "within": "90s"}
    found = probes_for("esp32", rules(inference=[camera]))
    assert found[1] == {"name": "camera", "kind": "InputPresent", "input": "camera0", "within": "90s"}


def test_probe_that_the_class_cannot_make_is_left_out() -> None:
    npu = {"name": "npu", "kind": "NpuReady", "blames": ["firmware"]}
    assert [probe["name"] for probe in probes_for("esp32", rules(a=[npu]))] == ["agent"]
    assert [probe["name"] for probe in probes_for("rk3566", rules(a=[npu]))] == ["agent", "npu"]


def test_advisory_probe_is_left_out_where_the_class_knows_none() -> None:
    alive = {"name": "alive", "kind": "InferenceAlive", "blames": ["model"], "advisory": True, "consecutive": 3}
    assert [probe["name"] for probe in probes_for("esp32", rules(a=[alive]))] == ["agent"]
    _, told = probes_for("rk3566", rules(a=[alive]))
    assert told == {"name": "alive", "kind": "InferenceAlive", "advisory": True, "consecutive": 3}


def test_probes_of_one_name_are_told_apart_by_their_rule() -> None:
    alive = {"name": "alive", "kind": "InferenceAlive", "blames": ["model"]}
    reached = {"name": "agent", "kind": "AgentConnected", "blames": ["firmware"]}
    found = probes_for("esp32", rules(a=[alive, reached], b=[alive]))
    assert [probe["name"] for probe in found] == ["a-alive", "agent", "b-alive"]
