"""What people write becomes what decisions look at, and what is remembered comes back unchanged."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.api import HealthRule, Hold, ReleasePlan
from backstay.api.conversion import hold_from, plan_from, selector_from, signals_from, size_from
from backstay.api.device_conversion import device_from
from backstay.api.releaseplan_status import ReleasePlanStatus
from backstay.api.selectors import LabelSelector
from backstay.api.state_conversion import progress_of, state_from
from backstay.core.devices import DeviceName, PlaneState, RevisionName, StepType
from backstay.core.plan import Count, Share
from backstay.core.planes import ContentDigest, Plane, Release, Requirement, VersionRange
from backstay.core.reasons import Because, Reason
from backstay.core.revision import Phase, RevisionState, Tally
from backstay.errors import Refused

DIGEST = f"sha256:{'a' * 64}"
OTHER = f"sha256:{'b' * 64}"
NOW = datetime(2026, 1, 5, 12, 0, 0, 123456, tzinfo=UTC)
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


@pytest.mark.parametrize("spec", [{"pins": {"model": DIGEST}}, {"mode": "Safe"}, {"node": "n1"}, {"revoked": True}])
def test_device_gets_no_orders_when_a_person_asks_for_what_we_cannot_keep(spec: Json) -> None:
    assert device_from(edge_device(spec={"class": "esp32", "gateway": "gw-eu", **spec})).revoked


@pytest.mark.parametrize(
    "changes",
    [
        {"spec": {}},
        {"spec": {"class": "esp32", "desired": {"step": {"number": 1, "plane": "nose", "type": "Install"}}}},
        {"status": {"planes": {"model": {"state": "Sleeping"}}}},
        {"status": {"conditions": [{}]}},
    ],
)
def test_device_that_cannot_be_read_is_refused_by_name(changes: Json) -> None:
    with pytest.raises(Refused, match="cam-1"):
        device_from(edge_device(**changes))


times = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
planes = st.lists(st.sampled_from(Plane), unique=True, max_size=3).map(tuple)
states = st.builds(
    RevisionState,
    revision=st.from_regex(r"[a-f0-9]{10}-[1-9]", fullmatch=True).map(RevisionName),
    counter=st.integers(1, 10**6),
    hash=st.from_regex(r"[a-f0-9]{10}", fullmatch=True),
    phase=st.sampled_from(Phase),
    since=times,
    ring=st.integers(0, 63),
    plane=st.none() | st.sampled_from(Plane),
    suspects=planes,
    reverted=planes,
    beside=planes,
    cause=st.none() | st.builds(Because, st.sampled_from(Reason), st.text(max_size=50)),
    tallies=st.lists(
        st.builds(Tally, st.from_regex(r"[a-z]{1,9}", fullmatch=True), st.integers(0, 9), times), max_size=4
    ).map(tuple),
)


@given(states)
def test_state_comes_back_from_the_status_as_it_was(state: RevisionState) -> None:
    document = {"revision": state.revision, "phase": state.phase.value, "progress": progress_of(state)}
    assert state_from(ReleasePlanStatus.from_document(document)) == state


def test_longest_state_fits_the_status() -> None:
    names = [f"s{number:02}".ljust(63, "x") for number in range(16)]
    rules = {f"r.{number:02}".ljust(253, "x"): rule("any", *names).spec for number in range(16)}
    at = datetime(2026, 3, 2, tzinfo=UTC)
    tallies = tuple(Tally(signal.name, 3, at) for signal in signals_from(rules))
    cause = Because(Reason.SIGNAL_FAILED, "0.41 is below the minimum of 0.9; " * 1000)
    state = RevisionState(
        RevisionName("3f9c2a1b4d-1"), 1, "3f9c2a1b4d", Phase.ROLLING_BACK, at, cause=cause, tallies=tallies
    )
    document = {"revision": state.revision, "phase": state.phase.value, "progress": progress_of(state)}
    found = state_from(ReleasePlanStatus.from_document(document))
    assert found is not None
    assert found.tallies == tallies
    assert found.cause is not None
    assert cause.message.startswith(found.cause.message)


def test_plan_without_a_revision_has_no_state() -> None:
    assert state_from(ReleasePlanStatus()) is None
