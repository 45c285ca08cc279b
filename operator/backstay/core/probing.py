"""Whether probes let a change stay: required or advisory, so many passes in a row, a deadline, and what was so before.

`TRANSITIONS` is the whole machine of one probe; a stimulus that a standing does not list changes nothing.

    standing   a pass   passes enough   fails     fails as before   as before, often enough   time over
    Pending    ·        Passed          Failing   Failing           Excused                   Late
    Failing    Pending  Passed          ·         ·                 Excused                   Late
    Passed     ·        ·               Failing   Failing           Excused                   ·
    Excused    ·        Passed          Failing   ·                 ·                         ·
    Late       absorbing: what passes too late has not passed

A required probe lets the change stay while it is Passed or Excused; an advisory one always does, and is reported.

**The baseline.** Just before the switch every probe that can be excused is run `BASELINE_TIMES` times. One that failed
each time, each time in the same way, was broken before the new version came: it is an old fault, and if it goes on
failing like that, it does not convict the new version. It stays reported as failing, marked `baseline`. What the
excuse is not:

- It needs as many failures in a row after the change as were seen before, all with the same fault and none worse than
  the worst of them by more than `WORSE_BY` of the limit. Another fault, or much more of the same, is the change's own.
- Whoever passed once before the change, however badly it flapped, has no old fault.
- Some kinds can never be excused: whether home is reached, because a device that cannot be told to go back must not
  keep a change; whether the model answers its samples, because those came with the new version; and the order to fail.
- Excuses alone prove nothing: a change is proven only if at least one required probe passed.

Time is what has passed since the change; the deadline is the probe's own `within`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum, StrEnum, auto
from typing import Any, Final

from backstay.core.device import Probe, ProbeResult

BASELINE_TIMES: Final = 3
"""So often each probe is run just before the switch."""

WORSE_BY: Final = 0.1
"""How much further from its limit an old fault may be after the change, as a share of the limit."""

MOST_CONSECUTIVE: Final = 20
_MARK: Final = "baseline: failed in the same way before the change; "


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a probe found when it ran once."""

    name: str
    passed: bool
    detail: str = ""
    """What was measured and what was wanted, with units."""
    fault: str = ""
    """The way in which it failed, one word that does not change with the numbers, such as `BelowMinimum`."""
    shortfall: float = 0.0
    """How far from the limit it was, as a share of the limit; 0 where nothing is counted."""


@dataclass(frozen=True, slots=True)
class ProbeRule:
    """What is asked of one probe.

    Raises:
        ValueError: so many passes in a row are not asked of any probe.
    """

    name: str
    required: bool = True
    consecutive: int = 1
    """So many passes in a row make it pass."""
    within: timedelta | None = None
    """By when after the change; None leaves it to the window."""
    excusable: bool = True
    """Whether a fault from before the change excuses it."""

    def __post_init__(self) -> None:
        if not 1 <= self.consecutive <= MOST_CONSECUTIVE:
            message = f"consecutive is {self.consecutive}, not between 1 and {MOST_CONSECUTIVE}"
            raise ValueError(message)


@dataclass(frozen=True, slots=True)
class OldFault:
    """How a probe failed before the change, every time that it was run."""

    fault: str
    times: int
    shortfall: float = 0.0
    """The worst of them."""

    def covers(self, found: Measurement) -> bool:
        """Tell whether a failure is this one again, and no worse."""
        return not found.passed and found.fault == self.fault and found.shortfall <= self.shortfall + WORSE_BY


class Standing(StrEnum):
    """Where one probe stands after the change."""

    PENDING = "Pending"
    PASSED = "Passed"
    FAILING = "Failing"
    EXCUSED = "Excused"
    LATE = "Late"

    @property
    def holds(self) -> bool:
        """Tell whether a required probe that stands so lets the change stay."""
        return self in {Standing.PASSED, Standing.EXCUSED}


class Stimulus(Enum):
    """What a measurement means to the probe's machine."""

    PASS = auto()
    PASSES_ENOUGH = auto()
    FAILS = auto()
    FAILS_AS_BEFORE = auto()
    AS_BEFORE_ENOUGH = auto()
    TIME_OVER = auto()


TRANSITIONS: Final[Mapping[Standing, Mapping[Stimulus, Standing]]] = {
    Standing.PENDING: {
        Stimulus.PASSES_ENOUGH: Standing.PASSED,
        Stimulus.FAILS: Standing.FAILING,
        Stimulus.FAILS_AS_BEFORE: Standing.FAILING,
        Stimulus.AS_BEFORE_ENOUGH: Standing.EXCUSED,
        Stimulus.TIME_OVER: Standing.LATE,
    },
    Standing.FAILING: {
        Stimulus.PASS: Standing.PENDING,
        Stimulus.PASSES_ENOUGH: Standing.PASSED,
        Stimulus.AS_BEFORE_ENOUGH: Standing.EXCUSED,
        Stimulus.TIME_OVER: Standing.LATE,
    },
    Standing.PASSED: {
        Stimulus.FAILS: Standing.FAILING,
        Stimulus.FAILS_AS_BEFORE: Standing.FAILING,
        Stimulus.AS_BEFORE_ENOUGH: Standing.EXCUSED,
    },
    # One pass does not take the excuse away, or an old fault that heals slowly would undo the change.
    Standing.EXCUSED: {Stimulus.PASSES_ENOUGH: Standing.PASSED, Stimulus.FAILS: Standing.FAILING},
    Standing.LATE: {},
}


@dataclass(frozen=True, slots=True)
class Trial:
    """One probe after the change, and what it has shown so far."""

    rule: ProbeRule
    old: OldFault | None = None
    standing: Standing = Standing.PENDING
    passes: int = 0
    """In a row, up to now."""
    as_before: int = 0
    """Failures like the old fault in a row, up to now."""
    last: Measurement | None = None

    @property
    def holds(self) -> bool:
        """Tell whether this probe lets the change stay."""
        return not self.rule.required or self.standing.holds

    @property
    def fails(self) -> bool:
        """Tell whether the probe is to be reported as failing, whatever follows from it."""
        return self.standing is Standing.LATE or (self.last is not None and not self.last.passed)


def rule_of(probe: Probe, *, excusable: bool) -> ProbeRule:
    """What a probe's settings ask of it.

    Raises:
        ValueError: `advisory` or `consecutive` are not what they should be; says which.
    """
    advisory = (probe.setting("advisory") or "false").lower()
    if advisory not in {"true", "false"}:
        message = f"advisory is {advisory!r}, not true or false"
        raise ValueError(message)
    count = probe.setting("consecutive") or "1"
    if not (count.isascii() and count.isdecimal()):
        message = f"consecutive is {count!r}, not a number of passes"
        raise ValueError(message)
    return ProbeRule(probe.name, advisory == "false", int(count), probe.within, excusable)


def old_faults(before: Iterable[Measurement], times: int = BASELINE_TIMES) -> dict[str, OldFault]:
    """The probes that failed at every measurement before the change, at least so often, and always in the same way."""
    seen: dict[str, list[Measurement]] = {}
    for found in before:
        seen.setdefault(found.name, []).append(found)
    return {name: _old(found) for name, found in seen.items() if len(found) >= times and _alike(found)}


def begin(rules: Iterable[ProbeRule], old: Mapping[str, OldFault]) -> tuple[Trial, ...]:
    """The trials of a change that was made just now."""
    return tuple(Trial(rule, old.get(rule.name) if rule.excusable else None) for rule in rules)


def measured(trial: Trial, found: Measurement, since_change: timedelta) -> Trial:
    """Take one measurement; the newest counts."""
    if (trial := ticked(trial, since_change)).standing is Standing.LATE:
        return replace(trial, last=found)
    like_old = trial.old is not None and trial.old.covers(found)
    trial = replace(
        trial,
        last=found,
        passes=trial.passes + 1 if found.passed else 0,
        as_before=trial.as_before + 1 if like_old else 0,
    )
    return ticked(_moved(trial, _stimulus(trial, found, like_old=like_old)), since_change)


def ticked(trial: Trial, since_change: timedelta) -> Trial:
    """Let time pass; a probe whose own time is over without having held is late."""
    over = trial.rule.within is not None and since_change >= trial.rule.within
    return _moved(trial, Stimulus.TIME_OVER) if over else trial


def proven(trials: Iterable[Trial]) -> bool:
    """Tell whether the change may stay: every required probe holds, and one of them at least has passed."""
    required = [trial for trial in trials if trial.rule.required]
    return all(trial.holds for trial in required) and any(trial.standing is Standing.PASSED for trial in required)


def failing(trials: Iterable[Trial]) -> tuple[str, ...]:
    """The probes that fail now, the advisory and the excused ones among them, for the device's health report."""
    return tuple(trial.rule.name for trial in trials if trial.fails)


def results(trials: Iterable[Trial]) -> tuple[ProbeResult, ...]:
    """What the plane's machine is told of the required probes; `passed` there means that it lets the change stay.

    All of them pass there only if the change is `proven`, so that the machine cannot confirm on excuses alone.
    """
    required = [trial for trial in trials if trial.rule.required]
    any_passed = any(trial.standing is Standing.PASSED for trial in required)
    return tuple(
        ProbeResult(trial.rule.name, trial.standing.holds and any_passed, told(trial))
        for trial in required
        if trial.last is not None
    )


def advice(trials: Iterable[Trial]) -> tuple[ProbeResult, ...]:
    """What advisory probes found last; it is told, and nothing follows from it."""
    return tuple(
        ProbeResult(trial.rule.name, not trial.fails, told(trial), advisory=True)
        for trial in trials
        if not trial.rule.required and trial.last is not None
    )


def told(trial: Trial) -> str:
    """What there is to say of a probe, in a line that a person can use."""
    detail = trial.last.detail if trial.last else "was not run yet"
    match trial.standing:
        case Standing.EXCUSED:
            return f"{_MARK}{detail}"
        case Standing.LATE if trial.rule.within:
            return f"did not pass within {trial.rule.within.total_seconds():g} s of the change; {detail}"
        case Standing.PENDING if trial.passes:
            return f"{trial.passes} of {trial.rule.consecutive} passes in a row; {detail}"
        case _:
            return detail


def to_record(old: Mapping[str, OldFault]) -> dict[str, Any]:
    """Return the old faults as JSON values: they must outlive the reboot that a change may need."""
    return {name: [found.fault, found.times, found.shortfall] for name, found in old.items()}


def from_record(record: Mapping[str, Any]) -> dict[str, OldFault]:
    """Read old faults back.

    Raises:
        ValueError, TypeError: the record was not written by `to_record`.
    """
    return {
        str(name): OldFault(str(fault), int(times), float(shortfall))
        for name, (fault, times, shortfall) in record.items()
    }


def _moved(trial: Trial, stimulus: Stimulus) -> Trial:
    return replace(trial, standing=TRANSITIONS[trial.standing].get(stimulus, trial.standing))


def _stimulus(trial: Trial, found: Measurement, *, like_old: bool) -> Stimulus:
    if found.passed:
        return Stimulus.PASSES_ENOUGH if trial.passes >= trial.rule.consecutive else Stimulus.PASS
    if trial.old is None or not like_old:
        return Stimulus.FAILS
    enough = trial.as_before >= max(trial.rule.consecutive, trial.old.times)
    return Stimulus.AS_BEFORE_ENOUGH if enough else Stimulus.FAILS_AS_BEFORE


def _alike(found: Iterable[Measurement]) -> bool:
    return len({(one.passed, one.fault) for one in found}) == 1 and not any(one.passed for one in found)


def _old(found: list[Measurement]) -> OldFault:
    return OldFault(found[0].fault, len(found), max(one.shortfall for one in found))
