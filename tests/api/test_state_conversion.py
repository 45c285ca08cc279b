"""What is remembered of a revision comes back from the plan's status unchanged."""

from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from backstay.api import HealthRule
from backstay.api.conversion import signals_from
from backstay.api.releaseplan_status import LONGEST_CALLER, MOST_VERDICTS, ReleasePlanStatus
from backstay.api.state_conversion import evidence_of, progress_of, state_from
from backstay.core.devices import DeviceName, Drill, RevisionName
from backstay.core.planes import Plane
from backstay.core.reasons import Because, Reason
from backstay.core.revision import DrillStage, DrillState, Phase, RevisionState, Segment, Tally
from backstay.core.signals import Compared, Result, Verdict

AT = datetime(2026, 3, 2, tzinfo=UTC)
STATE = RevisionState(RevisionName("3f9c2a1b4d-1"), 1, "3f9c2a1b4d", Phase.ROLLING_BACK, AT)
Json = dict[str, Any]


def names(longest: int = 12) -> st.SearchStrategy[str]:
    return st.from_regex(rf"[a-z][a-z0-9-]{{0,{longest - 2}}}[a-z0-9]", fullmatch=True)


times = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
planes = st.lists(st.sampled_from(Plane), unique=True, max_size=3).map(tuple)
counts = st.integers(0, 10**6)
verdicts = st.builds(
    Verdict,
    signal=names(),
    result=st.sampled_from(Result),
    at=times,
    query=st.text(max_size=50),
    value=st.none() | st.floats(allow_nan=False),
    message=st.text(max_size=50),
)
STRATEGIES = dict(  # noqa: C408 - the fields as the state names them
    revision=st.from_regex(r"[a-f0-9]{10}-[1-9]", fullmatch=True).map(RevisionName),
    counter=st.integers(1, 10**6),
    hash=st.from_regex(r"[a-f0-9]{10}", fullmatch=True),
    phase=st.sampled_from(Phase),
    since=times,
    ring=st.integers(0, 63),
    ring_since=st.none() | times,
    plane=st.none() | st.sampled_from(Plane),
    suspects=planes,
    reverted=planes,
    beside=planes,
    cause=st.none() | st.builds(Because, st.sampled_from(Reason), st.text(max_size=50)),
    evidence=st.lists(verdicts, max_size=3).map(tuple),
    segment=st.none() | st.builds(Segment, names(), names() | st.just("")),
    confined_to_ring=st.booleans(),
    recovered_unaided=st.booleans(),
    asked_by=st.none() | st.text(max_size=50),
    approved=st.integers(0, 64),
    pardoned=st.lists(counts, max_size=4).map(tuple),
    retried_at=st.none() | times,
    halted_from=st.none() | st.sampled_from(Phase),
    drills=st.lists(
        st.builds(DrillState, names().map(DeviceName), st.sampled_from(Drill), st.sampled_from(DrillStage)), max_size=3
    ).map(tuple),
    rehearsed=st.lists(names(), max_size=3).map(tuple),
    tallies=st.lists(st.builds(Tally, names(), counts, times, counts, counts, st.none() | times), max_size=4).map(
        tuple
    ),
    handled=st.text(max_size=50),
)
states = st.builds(RevisionState, **STRATEGIES)


def status_of(state: RevisionState) -> ReleasePlanStatus:
    return ReleasePlanStatus.from_document(
        {
            "revision": state.revision,
            "phase": state.phase.value,
            "progress": progress_of(state),
            "evidence": evidence_of(state),
            "lastHandledRequest": state.handled,
        }
    )


@given(states)
def test_state_comes_back_from_the_status_as_it_was(state: RevisionState) -> None:
    assert state_from(status_of(state)) == state


def test_no_field_of_the_state_is_left_to_its_default() -> None:
    assert {field.name for field in fields(RevisionState)} == STRATEGIES.keys()


def rule(*signals: str, **more: object) -> HealthRule:
    written = [{"name": one, "blames": ["model"], "query": "m{${scope}}", "max": "0.120"} for one in signals]
    document = {"kind": "HealthRule", "metadata": {"name": "any"}, "spec": {"signals": written, **more}}
    return HealthRule.from_document(document)


def test_longest_state_fits_the_status() -> None:
    signals = [f"s{number:02}".ljust(63, "x") for number in range(16)]
    spec = rule(*signals, minReporting="95%").spec
    rules = {f"r.{number:02}".ljust(253, "x"): spec for number in range(16)}
    tallies = tuple(Tally(signal.name, 3, AT, 9, 9, AT) for signal in signals_from(rules))
    cause = Because(Reason.SIGNAL_FAILED, "0.41 is below the minimum of 0.9; " * 1000)
    rings = tuple(f"r{number:02}".ljust(63, "x") for number in range(64))
    state = replace(
        STATE,
        cause=cause,
        evidence=tuple(Verdict(tally.signal, Result.FAIL, AT, "q" * 9999, 1e-300, "w" * 9999) for tally in tallies),
        segment=Segment("p" * 253 + "/" + "k" * 63, "v" * 63),
        asked_by="system:serviceaccount:" + "n" * 500,
        approved=64,
        pardoned=(1_000_000,) * 64,
        drills=tuple(DrillState(DeviceName(f"d{number}".ljust(253, "x")), Drill.BREAK) for number in range(101)),
        rehearsed=rings,
        tallies=tallies,
        handled="x" * 512,
    )
    found = state_from(status_of(state))
    assert found is not None
    assert (found.tallies, found.drills, found.rehearsed) == (tallies, state.drills, rings)
    assert found.cause is not None
    assert cause.message.startswith(found.cause.message)
    assert found.asked_by == (state.asked_by or "")[:LONGEST_CALLER]
    assert len(found.evidence) == MOST_VERDICTS
    assert state_from(status_of(found)) == found


def test_evidence_names_the_rule_and_keeps_the_words_of_a_comparison() -> None:
    verdict = Verdict(
        "latency", Result.FAIL, AT, "q", 0.25, "+0.25 against the baseline", Compared(0.25, 0.001, 9, 9, 4)
    )
    state = replace(STATE, evidence=(verdict,))
    (written,) = evidence_of(state, {"latency": "inference"})
    assert (written["rule"], written["value"], written["message"]) == (
        "inference",
        "0.25",
        "+0.25 against the baseline",
    )
    found = state_from(status_of(state))
    assert found is not None
    assert found.evidence == (replace(verdict, compared=None),)


def test_state_of_an_earlier_version_is_read_with_what_it_lacks_left_empty() -> None:
    progress = {
        "counter": 1,
        "hash": "3f9c2a1b4d",
        "since": AT.isoformat(),
        "signals": [{"name": "latency", "failures": 2, "lastAt": AT.isoformat()}],
    }
    document: Json = {"revision": STATE.revision, "phase": "RollingBack", "progress": progress}
    assert state_from(ReleasePlanStatus.from_document(document)) == replace(STATE, tallies=(Tally("latency", 2, AT),))


def test_plan_without_a_revision_has_no_state() -> None:
    assert state_from(ReleasePlanStatus()) is None
