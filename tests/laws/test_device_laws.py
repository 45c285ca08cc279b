"""Promises 2 and 3 of one plane: confirmed means proved after the change, and the unconfirmed is undone in time."""

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from backstay.core.device import (
    TRANSITIONS,
    Activated,
    Booted,
    Canceled,
    Cause,
    Downloaded,
    Event,
    Instruction,
    Order,
    Ordered,
    Probe,
    Probed,
    ProbeResult,
    Progress,
    Reason,
    Refused,
    Source,
    Switching,
    Ticked,
    advance,
)
from backstay.core.device_record import from_record, to_record
from backstay.core.devices import PlaneState, StepType
from backstay.core.planes import ContentDigest, Plane
from tests.laws.release_rules import examples

CONTENTS = [ContentDigest(f"sha256:{digit * 64}") for digit in "abc"]
NAMES = ("camera", "inference", "replay")
WINDOW = 20.0

contents = st.sampled_from(CONTENTS)
causes = st.sampled_from([Cause(Reason.WATCHDOG), Cause(Reason.BOOT_FAILED)])


class DevicePlane(RuleBasedStateMachine):
    """Any events, in any order: a hostile bridge, a flaky chip and a clock that stops for nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.progress = Progress()
        self.now = 0.0
        self.number = 0
        self.passed: dict[str, bool] = {}
        """What each probe said last, since the plane was last changed or booted."""
        self.trial_since: float | None = None

    def feed(self, event: Event) -> tuple[Instruction, ...]:
        before = self.progress
        outcome = advance(before, event, self.now)
        assert advance(before, event, self.now) == outcome
        self.progress = outcome.progress
        entered = outcome.progress.state is PlaneState.PENDING_CONFIRM
        if entered and (before.state is not PlaneState.PENDING_CONFIRM or isinstance(event, Booted)):
            self.trial_since = self.now
            self.passed = {}
        if Instruction.CONFIRM in outcome.instructions:
            self.check_confirmation(before)
        if before.in_flight and not self.progress.in_flight:
            assert Instruction.REPORT in outcome.instructions
            assert (self.progress.cause is None) == (self.progress.state is PlaneState.CONFIRMED)
        return outcome.instructions

    def check_confirmation(self, before: Progress) -> None:
        order = before.order
        assert order is not None
        assert before.state is PlaneState.PENDING_CONFIRM
        assert all(self.passed.get(probe.name) for probe in order.probes)
        assert self.trial_since is not None
        assert self.now < self.trial_since + WINDOW

    @rule(
        content=contents,
        source=st.sampled_from(Source),
        step=st.sampled_from(StepType),
        names=st.sets(st.sampled_from(NAMES), min_size=1),
        again=st.booleans(),
    )
    def ordered(self, content: ContentDigest, source: Source, step: StepType, names: set[str], again: bool) -> None:
        self.number += not again
        probes = tuple(Probe(name, "InputPresent") for name in sorted(names))
        order = Order(self.number, Plane.MODEL, step, content, "1.0.0", probes, timedelta(seconds=WINDOW))
        open_before = self.progress.order if self.progress.in_flight else None
        self.feed(Ordered(order, source))
        if open_before is not None:
            assert self.progress.order == open_before

    @rule(content=contents)
    def downloaded(self, content: ContentDigest) -> None:
        self.feed(Downloaded(content))

    @precondition(lambda self: self.progress.in_flight)
    @rule()
    def goes_as_it_should(self) -> None:
        """Give the long way to PendingConfirm a fair chance."""
        order = self.progress.order
        assert order is not None
        for event in (Downloaded(order.content), Switching(), Activated(order.content)):
            self.feed(event)

    @rule()
    def switching(self) -> None:
        self.feed(Switching())

    @rule(content=contents)
    def activated(self, content: ContentDigest) -> None:
        self.feed(Activated(content))

    @rule(cause=causes)
    def refused(self, cause: Cause) -> None:
        self.feed(Refused(cause))

    @rule(content=contents, held=st.booleans(), on_trial=st.booleans(), fell_back=st.booleans(), cause=causes)
    def booted(self, content: ContentDigest, held: bool, on_trial: bool, fell_back: bool, cause: Cause) -> None:
        self.progress = from_record(to_record(self.progress))
        self.now = 0.0
        self.trial_since = None
        state = self.progress.state
        instructions = self.feed(Booted(content, held, on_trial, fell_back, cause))
        assert self.progress.state is not PlaneState.CONFIRMED or state is PlaneState.CONFIRMED
        if not self.progress.in_flight and on_trial and self.progress.state is state:
            assert Instruction.FALL_BACK in instructions

    @rule(results=st.dictionaries(st.sampled_from(NAMES), st.booleans()))
    def probed(self, results: dict[str, bool]) -> None:
        if self.trial_since is not None:
            self.passed |= results
        self.feed(Probed(tuple(ProbeResult(name, passed) for name, passed in results.items())))

    @rule(names=st.just(NAMES))
    def probed_well(self, names: tuple[str, ...]) -> None:
        self.probed(dict.fromkeys(names, True))

    @rule(seconds=st.floats(0.1, 2 * WINDOW))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        changed = self.progress.changed
        in_trial = self.progress.state is PlaneState.PENDING_CONFIRM
        instructions = self.feed(Ticked())
        assert self.trial_since is not None or not in_trial
        if in_trial and self.trial_since is not None and self.now >= self.trial_since + WINDOW:
            assert self.progress.state in (PlaneState.ROLLED_BACK, PlaneState.FAILED)
            assert (Instruction.FALL_BACK in instructions) == changed

    @rule()
    def canceled(self) -> None:
        changed, state = self.progress.changed, self.progress.state
        instructions = self.feed(Canceled())
        if state is PlaneState.PENDING_CONFIRM:
            assert (Instruction.FALL_BACK in instructions) == changed

    @invariant()
    def survives_a_reboot(self) -> None:
        kept = from_record(to_record(self.progress))
        assert (kept.state, kept.order, kept.cause, kept.changed) == (
            self.progress.state,
            self.progress.order,
            self.progress.cause,
            self.progress.changed,
        )


TestDevicePlane: Any = DevicePlane.TestCase
TestDevicePlane.settings = examples(200)


def test_confirm_is_ordered_by_nothing_but_the_proofs() -> None:
    confirming = [
        (state, stimulus)
        for state, row in TRANSITIONS.items()
        for stimulus, (after, instructions) in row.items()
        if after is PlaneState.CONFIRMED and Instruction.FALL_BACK not in instructions
    ]
    at_rest = {PlaneState.CONFIRMED}
    assert {(state, stimulus.name) for state, stimulus in confirming if state not in at_rest} == {
        (PlaneState.PENDING_CONFIRM, "PROVEN")
    }


def test_every_open_state_has_a_way_to_every_end() -> None:
    for state in (PlaneState.DOWNLOADING, PlaneState.VERIFIED, PlaneState.INSTALLING, PlaneState.PENDING_CONFIRM):
        reached, todo = {state}, [state]
        while todo:
            for after, _ in TRANSITIONS[todo.pop()].values():
                if after not in reached:
                    reached.add(after)
                    todo.append(after)
        assert {PlaneState.CONFIRMED, PlaneState.ROLLED_BACK, PlaneState.FAILED} <= reached
