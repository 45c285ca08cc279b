"""What people write becomes what decisions look at."""

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from backstay.api import DeviceGroup, HealthRule, Hold, InvalidDocument, ReleasePlan
from backstay.api.conversion import (
    group_rules_from,
    plan_from,
    resource_probes_from,
    signals_from,
    size_from,
)
from backstay.api.device_conversion import device_from
from backstay.api.hold_conversion import hold_from, selector_from
from backstay.api.selectors import LabelSelector
from backstay.core.devices import DeviceName, Drill, PlaneState, StepType
from backstay.core.failures import RetryPolicy
from backstay.core.holds import InFlight
from backstay.core.observed import GroupRules
from backstay.core.plan import OFFLINE_GRACE, Count, Denominator, Rehearsal, Scope, Share
from backstay.core.planes import ContentDigest, Plane, Release, Requirement, VersionRange
from backstay.core.signals import Result, WhenUnclear
from backstay.core.windows import Window
from backstay.errors import Refused

DIGEST = f"sha256:{'a' * 64}"
OTHER = f"sha256:{'b' * 64}"
OFFICE_HOURS = {"days": ["Mon", "Fri"], "start": "09:00", "end": "16:30", "timeZone": "Europe/Berlin"}
IN_OFFICE_HOURS = Window(frozenset({0, 4}), time(9), time(16, 30), ZoneInfo("Europe/Berlin"))
Json = dict[str, Any]


def written_plan(**spec: object) -> ReleasePlan:
    versions = {"model": {"version": "7.2.0", "artifact": f"registry.example/vision/model@{DIGEST}"}}
    document = {
        "apiVersion": "backstay.dev/v1alpha1",
        "kind": "ReleasePlan",
        "metadata": {"name": "vision", "namespace": "acme"},
        "spec": {"groups": ["cameras"], "versions": versions, "rings": [{"name": "all", "size": "100%"}], **spec},
    }
    return ReleasePlan.from_document(document)


def rule(name: str, *signals: str) -> HealthRule:
    written = [{"name": one, "blames": ["model"], "query": "m{${scope}}", "max": "0.120"} for one in signals]
    document = {"kind": "HealthRule", "metadata": {"name": name}, "spec": {"interval": "15s", "signals": written}}
    return HealthRule.from_document(document)


def converted(plan: ReleasePlan, *requires: Requirement) -> Any:
    release = Release(Plane.MODEL, "7.2.0", ContentDigest(OTHER), requires, "registry.example/vision/model")
    return plan_from("acme", "vision", plan.spec, {}, {Plane.MODEL: release})


def test_plan_has_every_quantity_in_its_unit() -> None:
    plan = converted(
        written_plan(
            rings=[{"name": "tenth", "size": "12.5%", "min": 3, "soak": "1h30m", "inFlight": 7, "maxFailed": "2%"}],
            success={"confirmed": "99.5%", "minConfirmed": 4},
            deadlines={"model": "90m"},
            stabilityWindow="48h",
        )
    )
    (ring,) = plan.rings
    assert (ring.size, ring.minimum, ring.soak) == (Share(Fraction(1, 8)), 3, timedelta(hours=1.5))
    assert (ring.in_flight, ring.max_failed) == (Count(7), Share(Fraction(1, 50)))
    assert (plan.success.confirmed, plan.success.min_confirmed) == (Fraction(199, 200), 4)
    assert plan.deadlines[Plane.MODEL] == timedelta(minutes=90)
    assert plan.stability == timedelta(days=2)
    assert plan.key == "acme/vision"


def test_plan_without_rings_is_one_ring_of_everybody_at_once() -> None:
    document = written_plan().to_document()
    del document["spec"]["rings"]
    (ring,) = converted(ReleasePlan.from_document(document)).rings
    assert (ring.name, ring.selector, ring.size) == ("all", None, None)
    assert ring.in_flight.of(1000) == 1000
    assert (ring.minimum, ring.soak, ring.max_failed) == (1, timedelta(minutes=10), Count(0))
    assert (ring.rehearsal, ring.needs_approval, ring.windows, ring.spread_by) == (None, False, (), ())


def test_ring_has_all_that_a_person_may_ask_of_it() -> None:
    first, second = converted(
        written_plan(
            rings=[
                {
                    "name": "canary",
                    "size": 3,
                    "spreadBy": ["hardware", "customer"],
                    "rehearsal": {"devices": 2, "breakOne": True},
                    "approval": "Manual",
                    "window": OFFICE_HOURS,
                },
                {"name": "all", "size": "100%", "rehearsal": {"devices": 1}, "approval": "Automatic"},
            ]
        )
    ).rings
    assert first.spread_by == ("hardware", "customer")
    assert (first.rehearsal, second.rehearsal) == (Rehearsal(2, break_one=True), Rehearsal(1, break_one=False))
    assert (first.needs_approval, second.needs_approval) == (True, False)
    assert (first.windows, second.windows) == ((IN_OFFICE_HOURS,), ())


def test_window_goes_by_the_wall_clock_of_its_zone_when_summer_time_begins() -> None:
    (ring,) = converted(written_plan(rings=[{"name": "all", "size": "100%", "window": OFFICE_HOURS}])).rings
    (window,) = ring.windows
    assert not window.is_open(datetime(2026, 3, 27, 7, 30, tzinfo=UTC))
    assert window.is_open(datetime(2026, 3, 30, 7, 30, tzinfo=UTC))


@pytest.mark.parametrize("zone", ["Europe/Berlinn", "Europe", "Mars/Olympus/Mons", "localtime"])
def test_plan_is_refused_by_field_when_a_window_is_in_no_time_zone(zone: str) -> None:
    rings = [{"name": "all", "size": "100%", "window": OFFICE_HOURS | {"timeZone": zone}}]
    with pytest.raises(InvalidDocument, match=rf"spec\.rings\[0\]\.window\.timeZone: '{zone}' .*IANA"):
        written_plan(rings=rings)


def test_plan_has_its_rules_for_offline_and_failing_devices() -> None:
    plan = converted(
        written_plan(
            success={"of": "Target", "offlineGrace": "36h"},
            retries={"attempts": 7, "backoff": "90s"},
            rollback={"automatic": False, "scope": "Segment", "verify": "3m"},
            retain="336h",
        )
    )
    assert (plan.success.of, plan.success.offline_grace) == (Denominator.TARGET, timedelta(hours=36))
    assert plan.retries == RetryPolicy(7, timedelta(seconds=90))
    assert (plan.rollback.automatic, plan.rollback.scope, plan.rollback.verify) == (
        False,
        Scope.SEGMENT,
        timedelta(minutes=3),
    )
    assert plan.retain == timedelta(days=14)


def test_plan_has_the_defaults_of_decisions_when_a_person_leaves_them() -> None:
    plan = converted(written_plan())
    assert (plan.success.of, plan.success.offline_grace) == (Denominator.STARTED, OFFLINE_GRACE)
    assert (plan.retries, plan.rollback.scope, plan.retain) == (RetryPolicy(), Scope.PLAN, timedelta(0))
    assert plan.irreversible == frozenset()


def test_plan_knows_the_planes_that_cannot_be_taken_back() -> None:
    def version(plane: str, **more: object) -> Json:
        return {"version": "7.2.0", "artifact": f"registry.example/vision/{plane}@{DIGEST}", **more}

    versions = {
        "firmware": version("firmware"),
        "model": version("model", irreversible=True),
        "config": version("config", irreversible=False),
    }
    assert converted(written_plan(versions=versions)).irreversible == {Plane.MODEL}


def test_plan_tightens_what_an_artifact_declares_and_never_loosens_it() -> None:
    declared = Requirement(Plane.FIRMWARE, VersionRange.parse(">=2.0.0"))
    versions = {
        "model": {
            "version": "7.2.0",
            "artifact": f"registry.example/vision/model@{DIGEST}",
            "requires": {"firmware": ">=1.0.0,<3.0.0"},
        }
    }
    target = converted(written_plan(versions=versions), declared).target[Plane.MODEL]
    assert [str(need) for need in target.requires] == ["firmware >=2.0.0", "firmware >=1.0.0,<3.0.0"]


def test_rollback_order_is_completed_where_a_person_named_some_planes() -> None:
    order = converted(written_plan(rollback={"order": ["model"]})).rollback.order
    assert order == (Plane.MODEL, Plane.CONFIG, Plane.FIRMWARE)


def test_size_is_exact() -> None:
    assert size_from("0.07%") == Share(Fraction(7, 10000))
    assert size_from(3) == Count(3)


def test_signals_of_one_name_are_told_apart_by_their_rule() -> None:
    rules = {name: rule(name, *signals).spec for name, signals in {"a": ("latency", "heat"), "b": ("latency",)}.items()}
    signals = signals_from(rules)
    assert [signal.name for signal in signals] == ["a-latency", "heat", "b-latency"]
    assert signals[0].maximum == Decimal("0.120")
    assert signals[0].interval == timedelta(seconds=15)


def test_signal_has_all_that_a_person_may_ask_of_it() -> None:
    written = rule("a", "latency").to_document()
    written["spec"]["signals"][0] |= {
        "failureLimit": 2,
        "totalFailureLimit": 5,
        "initialDelay": "90s",
        "onNoData": "Fail",
        "onProviderError": "Halt",
        "waitLimit": "1h",
        "dryRun": True,
    }
    (signal,) = signals_from({"a": HealthRule.from_document(written).spec})
    assert (signal.failure_limit, signal.total_failure_limit) == (2, 5)
    assert (signal.initial_delay, signal.wait_limit) == (timedelta(seconds=90), timedelta(hours=1))
    assert signal.when(Result.NO_DATA) is WhenUnclear.FAIL
    assert signal.when(Result.PROVIDER_ERROR) is WhenUnclear.HALT
    assert signal.when(Result.INCONCLUSIVE) is WhenUnclear.WAIT
    assert signal.dry_run


def test_signal_waits_for_ever_and_counts_when_a_person_says_nothing_else() -> None:
    (signal,) = signals_from({"a": rule("a", "latency").spec})
    assert {signal.when(result) for result in Result} == {WhenUnclear.WAIT}
    assert (signal.total_failure_limit, signal.wait_limit, signal.initial_delay) == (None, None, timedelta(0))
    assert not signal.dry_run


def test_resource_probes_have_the_names_that_devices_are_told() -> None:
    def probes(*found: Json) -> HealthRule:
        return HealthRule.from_document(
            {
                "kind": "HealthRule",
                "metadata": {"name": "r"},
                "spec": {"probes": [{"blames": ["model"], **probe} for probe in found]},
            }
        )

    disk = {"name": "disk", "kind": "DiskHeadroom", "min": "512Mi"}
    spare = {"name": "spare", "kind": "DiskHeadroom", "min": "1Gi"}
    rules = {"a": probes(disk, spare).spec, "b": probes({"name": "disk", "kind": "InferenceAlive"}).spec}
    assert resource_probes_from(rules) == {"a-disk", "spare"}
    assert plan_from("acme", "vision", written_plan().spec, rules, {}).resource_probes == {"a-disk", "spare"}


def test_group_has_its_rules_and_its_numbers() -> None:
    def group(**spec: object) -> DeviceGroup:
        return DeviceGroup.from_document(
            {"kind": "DeviceGroup", "metadata": {"name": "cameras"}, "spec": {"selector": {}, **spec}}
        )

    strict = group(paused=True, maxUnavailable="10%", window=OFFICE_HOURS)
    assert group_rules_from(strict.spec, 60, 2) == GroupRules(
        paused=True, windows=(IN_OFFICE_HOURS,), max_unavailable=Share(Fraction(1, 10)), devices=60, unavailable=2
    )
    assert group_rules_from(group().spec, 60, 2) == GroupRules(devices=60, unavailable=2)


def test_selector_means_what_kubernetes_means() -> None:
    written = LabelSelector.from_document(
        {
            "matchLabels": {"region": "eu"},
            "matchExpressions": [{"key": "stage", "operator": "NotIn", "values": ["test"]}],
        }
    )
    selector = selector_from(written)
    assert selector.matches({"region": "eu"})
    assert selector.matches({"region": "eu", "stage": "production"})
    assert not selector.matches({"region": "eu", "stage": "test"})
    assert not selector.matches({"region": "us"})


def test_hold_without_scope_covers_every_device() -> None:
    spec = {"versions": [{"plane": "model", "digest": DIGEST}], "reason": "it hangs"}
    hold = hold_from(Hold.from_document({"kind": "Hold", "metadata": {"name": "frozen"}, "spec": spec}))
    assert hold.covers_device(DeviceName("any"), {}, frozenset())
    assert hold.covers_version(Plane.MODEL, ContentDigest(DIGEST))
    assert not hold.covers_version(Plane.CONFIG, ContentDigest(DIGEST))
    assert hold.in_flight is InFlight.FINISH


def test_hold_says_whether_devices_that_are_changing_return() -> None:
    spec = {"scope": {"devices": ["cam-1"]}, "inFlight": "Return", "reason": "repair"}
    hold = hold_from(Hold.from_document({"kind": "Hold", "metadata": {"name": "repair"}, "spec": spec}))
    assert hold.in_flight is InFlight.RETURN


def edge_device(**changes: object) -> Json:
    return {
        "metadata": {
            "name": "cam-1",
            "namespace": "acme",
            "resourceVersion": "7",
            "uid": "u",
            "labels": {"region": "eu"},
        },
        "spec": {"class": "esp32", "gateway": "gw-eu"},
        **changes,
    }


def test_device_that_was_never_heard_of_is_not_reachable() -> None:
    device = device_from(edge_device())
    assert not device.reachable
    assert device.step is None
    assert not device.in_flight


def test_device_is_read_with_its_order_and_its_own_word() -> None:
    assignment = {"plan": "vision", "revision": "abc-1", "ring": "canary", "version": "7.2.0", "content": DIGEST}
    step = {"number": 4, "plane": "model", "type": "Install", "issued": "2026-01-05T12:00:00Z"}
    desired = {"model": assignment, "step": step, "expires": "2026-01-05T14:00:00.5Z"}
    report = {"running": OTHER, "version": "7.1.0", "state": "Downloading", "step": 4, "since": "2026-01-05T12:01:00Z"}
    device = device_from(
        edge_device(
            spec={"class": "esp32", "gateway": "gw-eu", "desired": desired},
            status={
                "planes": {"model": report},
                "health": {"state": "Degraded", "failing": ["camera"]},
                "conditions": [{"type": "Reachable", "status": "True"}],
            },
        )
    )
    assert device.reachable
    assert device.failing == ("camera",)
    assert device.step is not None
    assert (device.step.number, device.step.type) == (4, StepType.INSTALL)
    assert device.step.expires == datetime(2026, 1, 5, 14, 0, 0, 500000, tzinfo=UTC)
    assert device.status(Plane.MODEL).state is PlaneState.DOWNLOADING
    assert device.begun
    assert device.in_flight
    assert device.assigned[Plane.MODEL].artifact == ""
    assert (device.step.attempt, device.step.drill) == (1, None)


@pytest.mark.parametrize("drill", Drill)
def test_device_is_read_with_the_attempt_and_the_rehearsal_of_its_step(drill: Drill) -> None:
    step = {"number": 4, "plane": "model", "type": "Install", "issued": "2026-01-05T12:00:00Z"}
    desired = {"step": step | {"attempt": 3, "rehearsal": drill.value}}
    device = device_from(edge_device(spec={"class": "esp32", "gateway": "gw-eu", "desired": desired}))
    assert device.step is not None
    assert (device.step.attempt, device.step.drill) == (3, drill)


@pytest.mark.parametrize("spec", [{"pins": {"model": DIGEST}}, {"mode": "Safe"}, {"revoked": True}])
def test_device_gets_no_orders_when_a_person_asks_for_what_we_cannot_keep(spec: Json) -> None:
    assert device_from(edge_device(spec={"class": "esp32", "gateway": "gw-eu", **spec})).revoked


@pytest.mark.parametrize(("mode", "said"), [("Safe", ""), ("Normal", "Safe"), ("Safe", "Safe")])
def test_node_counts_as_offline_when_it_is_in_safe_mode_or_shall_be(mode: str, said: str) -> None:
    reachable = [{"type": "Reachable", "status": "True"}]
    spec = {"class": "rk3566", "node": "box-1"}
    node = device_from(edge_device(spec=spec | {"mode": mode}, status={"mode": said, "conditions": reachable}))
    assert (node.safe, node.reachable, node.revoked) == (True, False, False)
    normal = device_from(edge_device(spec=spec, status={"mode": "Normal", "conditions": reachable}))
    assert (normal.safe, normal.reachable) == (False, True)


@pytest.mark.parametrize(
    "changes",
    [
        {"spec": {}},
        {"spec": {"class": "esp32", "desired": {"step": {"number": 1, "plane": "nose", "type": "Install"}}}},
        {
            "spec": {
                "class": "esp32",
                "desired": {
                    "step": {
                        "number": 1,
                        "plane": "model",
                        "type": "Install",
                        "issued": "2026-01-05T12:00:00Z",
                        "rehearsal": "Explode",
                    }
                },
            }
        },
        {"status": {"planes": {"model": {"state": "Sleeping"}}}},
        {"status": {"conditions": [{}]}},
    ],
)
def test_device_that_cannot_be_read_is_refused_by_name(changes: Json) -> None:
    with pytest.raises(Refused, match="cam-1"):
        device_from(edge_device(**changes))
