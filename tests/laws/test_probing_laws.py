"""What probes may and may not do to a change, whatever they measure and in whatever order."""

import json
from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from backstay.core import probing
from backstay.core.probing import Measurement, OldFault, ProbeRule, Standing, Trial, begin, measured, old_faults

NAME = "probe"
PASS = Measurement(NAME, passed=True)
faults = st.sampled_from(["BelowMinimum", "Unreachable", "NotThere"])
shortfalls = st.sampled_from([0.0, 0.05, 0.3, 0.9])
failures = st.builds(lambda fault, short: Measurement(NAME, False, "", fault, short), faults, shortfalls)
measurements = st.one_of(st.just(PASS), failures)
histories = st.lists(st.tuples(st.integers(0, 30), measurements), max_size=25).map(
    lambda found: sorted(found, key=lambda one: one[0])
)
olds = st.none() | st.builds(OldFault, faults, st.integers(1, 4), shortfalls)
rules = st.builds(
    ProbeRule,
    st.just(NAME),
    st.booleans(),
    st.integers(1, 4),
    st.none() | st.integers(1, 30).map(lambda seconds: timedelta(seconds=seconds)),
    st.booleans(),
)
History = list[tuple[int, Measurement]]


def played(rule: ProbeRule, old: OldFault | None, history: History) -> Trial:
    (trial,) = begin([rule], {NAME: old} if old else {})
    for at, found in history:
        trial = measured(trial, found, timedelta(seconds=at))
    return trial


def last(history: History, count: int) -> list[Measurement]:
    return [found for _, found in history[-count:]]


@given(rules, olds, histories)
def test_probe_counts_as_passed_only_after_so_many_passes_in_a_row(
    rule: ProbeRule, old: OldFault | None, history: History
) -> None:
    if played(rule, old, history).standing is Standing.PASSED:
        newest = last(history, rule.consecutive)
        assert len(newest) == rule.consecutive
        assert all(found.passed for found in newest)


@given(rules, olds, histories)
def test_fault_that_is_new_or_worse_never_holds(rule: ProbeRule, old: OldFault | None, history: History) -> None:
    trial = played(rule, old, history)
    if history and not history[-1][1].passed and not (rule.excusable and old and old.covers(history[-1][1])):
        assert not trial.standing.holds


@given(rules, olds, histories)
def test_excuse_needs_an_old_fault_and_as_many_failures_as_it_had(
    rule: ProbeRule, old: OldFault | None, history: History
) -> None:
    trial = played(rule, old, history)
    if trial.standing is Standing.EXCUSED:
        assert old is not None
        assert rule.excusable
        runs, longest = 0, 0
        for _, found in history:
            runs = runs + 1 if old.covers(found) else 0
            longest = max(longest, runs)
        assert longest >= max(old.times, rule.consecutive)


@given(rules, olds, histories)
def test_probe_that_did_not_hold_in_time_never_holds_again(
    rule: ProbeRule, old: OldFault | None, history: History
) -> None:
    for end in range(len(history) + 1):
        trial = played(rule, old, history[:end])
        if rule.within and not probing.ticked(trial, rule.within).standing.holds:
            late = [(at, found) for at, found in history[end:] if timedelta(seconds=at) >= rule.within]
            if len(late) == len(history) - end and late:
                assert played(rule, old, history).standing is Standing.LATE


@given(rules, olds, histories)
def test_one_more_pass_never_takes_hold_away(rule: ProbeRule, old: OldFault | None, history: History) -> None:
    before = played(rule, old, history)
    if before.standing.holds:
        assert measured(before, PASS, timedelta(seconds=60)).standing.holds


@given(rules, olds, histories)
def test_advisory_probe_never_blocks_and_a_required_one_blocks_until_it_holds(
    rule: ProbeRule, old: OldFault | None, history: History
) -> None:
    agent = played(ProbeRule("agent"), None, [(0, replace(PASS, name="agent"))])
    trial = played(rule, old, history)
    assert probing.proven([agent, trial]) == (not rule.required or trial.standing.holds)


@given(st.lists(st.tuples(rules, olds, histories.filter(len)), min_size=1, max_size=4))
def test_machine_is_told_that_all_pass_only_when_the_change_is_proven(
    parts: list[tuple[ProbeRule, OldFault | None, History]],
) -> None:
    trials = [played(*part) for part in parts]
    told = probing.results(trials)
    assert (bool(told) and all(result.passed for result in told)) == probing.proven(trials)


@given(failures, st.integers(3, 6), st.integers(1, 4))
def test_old_fault_that_goes_on_unchanged_never_convicts(fault: Measurement, times: int, consecutive: int) -> None:
    old = old_faults([fault] * times)[NAME]
    enough = max(times, consecutive)
    trial = played(ProbeRule(NAME, consecutive=consecutive), old, [(0, fault)] * enough)
    assert trial.holds
    assert trial.fails


@given(rules, histories)
def test_without_a_baseline_nothing_is_excused(rule: ProbeRule, history: History) -> None:
    assert played(rule, None, history).standing is not Standing.EXCUSED


@given(st.lists(measurements, max_size=8))
def test_baseline_with_a_pass_in_it_holds_no_old_fault(before: list[Measurement]) -> None:
    old = old_faults(before)
    assert not old or not any(found.passed for found in before)


@given(st.dictionaries(st.text(min_size=1), st.builds(OldFault, faults, st.integers(1, 9), shortfalls)))
def test_old_faults_survive_a_reboot_as_json(old: dict[str, OldFault]) -> None:
    assert probing.from_record(json.loads(json.dumps(probing.to_record(old)))) == old


@given(rules, olds, histories)
def test_same_measurements_give_the_same_verdict(rule: ProbeRule, old: OldFault | None, history: History) -> None:
    assert played(rule, old, history) == played(rule, old, history)
