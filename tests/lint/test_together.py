import pytest

from tests.lint.manifests import GROUP, HOLD, PLAN, RULE, said_of

WHOLE = (GROUP, RULE, HOLD)


def test_release_that_fits_together_has_no_findings() -> None:
    assert said_of(*WHOLE, PLAN) == []


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            "[cameras]",
            "[camera]",
            "warning: spec.groups[0]: no DeviceGroup camera is among these files; did you mean cameras?",
        ),
        (
            "[inference]",
            "[accuracy]",
            "warning: spec.health[0]: no HealthRule accuracy is among these files, so it has to be in the cluster",
        ),
        (
            "model: {",
            "config: {",
            "warning: spec.health[0]: signal latency blames model, which this plan does not change",
        ),
        (
            "rings:",
            "confirmWindow: {model: 1m}\n  rings:",
            "warning: spec.confirmWindow.model: probe camera may take 90s, and the device falls back after 1m",
        ),
        (
            "10%, soak: 10m",
            "10%, soak: 30s",
            "signal latency takes 3 evaluations every 30s to fail: 0:01:00",
        ),
    ],
)
def test_plan_is_held_against_what_stands_beside_it(before: str, after: str, said: str) -> None:
    assert before in PLAN
    assert any(found.endswith(said) for found in said_of(*WHOLE, PLAN.replace(before, after)))


def test_plan_that_contradicts_itself_is_an_error() -> None:
    firmware = PLAN.replace(
        "versions:\n",
        f'versions:\n    firmware: {{version: 2.0.0, artifact: "registry.example/fw@sha256:{"b" * 64}"}}\n',
    )
    written = firmware.replace("7.2.0,", '7.2.0, requires: {firmware: ">=2.2.0"},')
    (found,) = said_of(*WHOLE, written)
    assert "error: spec.versions.model: the plan contradicts itself: model 7.2.0 requires firmware >=2.2.0" in found


def test_hold_of_a_group_that_is_nowhere_is_a_warning() -> None:
    (found,) = said_of(GROUP, HOLD.replace("[cameras]", "[lamps]"))
    assert "warning: spec.scope.groups[0]: no DeviceGroup lamps" in found


def test_second_plan_for_the_same_devices_is_a_warning() -> None:
    (found,) = said_of(*WHOLE, PLAN, PLAN.replace("vision", "sight"))
    assert "warning: spec.groups: plan vision manages model of group cameras too" in found


def test_names_lead_into_their_own_namespace() -> None:
    elsewhere = GROUP.replace("{name: cameras}", "{name: cameras, namespace: borealis}")
    here = PLAN.replace("{name: vision}", "{name: vision, namespace: acme}")
    assert any("no DeviceGroup cameras" in found for found in said_of(elsewhere, RULE, here))
    assert said_of(GROUP, RULE, here) == []


def test_object_that_stands_twice_is_an_error() -> None:
    (found,) = said_of(GROUP, GROUP)
    assert found == "f.yaml:8:18: error: metadata.name: DeviceGroup cameras stands at f.yaml:3:18 already"
