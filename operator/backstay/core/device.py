"""What one plane of a device does with an order: the state machine that every kind of device shares.

Everything that changes the state is here. An event comes in; the new progress and the instructions come out, and the
device's shell carries them out. `TRANSITIONS` is the whole machine: a stimulus that a state does not list changes
nothing. Which stimulus an event is, `_stimulus` decides.

    Idle ─→ Downloading ─→ Verified ─→ Installing ─→ PendingConfirm ─→ Confirmed
                 └──────────────┴───────────┴──→ Failed     └──→ RolledBack

Nothing is confirmed by having started: only results of all required probes, taken after the change, inside the window
and inside each probe's own time, do it. Time is `now`, in seconds of a clock that never goes back but may start anew
at a reboot.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum, StrEnum, auto
from typing import Final, assert_never

from backstay.core.devices import PlaneState, StepType
from backstay.core.planes import ContentDigest, Plane, Requirement

LONGEST_DETAIL: Final = 200
"""So much is said of probes that failed; a status holds no more than a line."""


class Reason(StrEnum):
    """Why a step did not end in Confirmed."""

    DIGEST_MISMATCH = "DigestMismatch"
    REJECTED = "Rejected"
    DOWNLOAD_FAILED = "DownloadFailed"
    NO_SPACE = "NoSpace"
    PROBE_FAILED = "ProbeFailed"
    CONFIRM_TIMEOUT = "ConfirmTimeout"
    WATCHDOG = "Watchdog"
    BOOT_FAILED = "BootFailed"
    INCOMPATIBLE = "Incompatible"
    EXPIRED = "Expired"
    CANCELED = "Canceled"
    FROZEN = "Frozen"
    """It failed on this device before."""
    SAFE_MODE = "SafeMode"
    """The device keeps only its connection, and begins nothing."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A reason and what there is to say about it, as `ProbeFailed: camera: no frame within 5 s`.

    What is said of probes begins with the names of all that failed, so that failures can be told apart by them.
    """

    reason: Reason
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else str(self.reason)


@dataclass(frozen=True, slots=True)
class Probe:
    """A check that must pass after the change; `settings` are its kind's own, as text."""

    name: str
    kind: str
    settings: tuple[tuple[str, str], ...] = ()
    within: timedelta | None = None
    """How long after the change it may take to pass; None for the whole window."""

    def setting(self, name: str) -> str | None:
        """One setting, or None where the probe leaves it to the device."""
        return dict(self.settings).get(name)

    @property
    def advisory(self) -> bool:
        """Whether a failure is told and convicts nobody."""
        return (self.setting("advisory") or "").lower() == "true"


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a probe found."""

    name: str
    passed: bool
    detail: str = ""
    advisory: bool = False
    """It is told, and nothing follows from it."""


@dataclass(frozen=True, slots=True)
class Order:
    """One step, with all that the device needs to carry it out and to undo it without a network.

    Raises:
        ValueError: there is no required probe, or no window: such an order could only be confirmed by having started.

    """

    number: int
    plane: Plane
    type: StepType
    content: ContentDigest
    version: str
    probes: tuple[Probe, ...]
    window: timedelta
    requires: tuple[Requirement, ...] = ()
    rehearsal: bool = False
    """How it ends says nothing of the version."""
    again: bool = False
    """A person asked for it to be tried, whatever became of it on this device before."""

    def __post_init__(self) -> None:
        if not self.required or self.window <= timedelta():
            message = f"step {self.number} needs at least one required probe and a window above zero to be confirmed by"
            raise ValueError(message)

    @property
    def required(self) -> tuple[Probe, ...]:
        """The probes that must pass; the others are advisory."""
        return tuple(probe for probe in self.probes if not probe.advisory)

    def repeats(self, other: "Order | None") -> bool:
        """Tell whether this is another delivery of the same step."""
        return other is not None and (self.number, self.type, self.content) == (other.number, other.type, other.content)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where one plane stands; all but `confirm_by` and `results` survives a reboot."""

    state: PlaneState = PlaneState.IDLE
    order: Order | None = None
    cause: Cause | None = None
    changed: bool = False
    """The order has touched what runs, so that there is something to undo."""
    confirm_by: float = 0.0
    results: tuple[ProbeResult, ...] = ()

    @property
    def in_flight(self) -> bool:
        """Tell whether an order is open."""
        return self.order is not None and not self.state.is_answer


class Source(Enum):
    """Where the ordered content is when the order arrives."""

    REMOTE = auto()
    HELD = auto()
    """Whole and verified in the slot that does not run."""
    RUNNING = auto()


@dataclass(frozen=True, slots=True)
class Ordered:
    """A step arrived."""

    order: Order
    source: Source


@dataclass(frozen=True, slots=True)
class Downloaded:
    """All bytes are in the spare slot, and this is their digest."""

    content: ContentDigest


@dataclass(frozen=True, slots=True)
class Refused:
    """The change cannot be made; nothing was touched."""

    cause: Cause


@dataclass(frozen=True, slots=True)
class Switching:
    """Every check passed; the next thing the device does is to switch."""


@dataclass(frozen=True, slots=True)
class Activated:
    """The plane was switched without a reboot and now runs this content."""

    content: ContentDigest


@dataclass(frozen=True, slots=True)
class Booted:
    """The device came up and this is what its bytes say.

    `fell_back` is set where the spare slot's trial was ended by the bootloader; `held` tells that the ordered
    content is whole in the spare slot; `on_trial` that what runs was never confirmed.
    """

    content: ContentDigest | None
    held: bool
    on_trial: bool
    fell_back: bool
    cause: Cause


@dataclass(frozen=True, slots=True)
class Probed:
    """Probes ran on what runs now."""

    results: tuple[ProbeResult, ...]


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time passed."""


@dataclass(frozen=True, slots=True)
class Canceled:
    """The order was withdrawn."""


Event = Ordered | Downloaded | Refused | Switching | Activated | Booted | Probed | Ticked | Canceled


class Instruction(Enum):
    """What the shell has to do, in the order given.

    It keeps the progress before it acts, so that the reason survives, with one exception: CONFIRM is done first,
    because a record that says more than the flash would be a lie.
    """

    DOWNLOAD = auto()
    SWITCH = auto()
    """Check the spare slot's content and the set it makes; send Refused, or Switching and then switch."""
    CONFIRM = auto()
    FALL_BACK = auto()
    REPORT = auto()


class Stimulus(Enum):
    """What an event means to the machine, seen from the state and the order it meets."""

    NOTHING = auto()
    ORDERED_REMOTE = auto()
    ORDERED_HELD = auto()
    ORDERED_RUNNING = auto()
    DOWNLOADED_RIGHT = auto()
    DOWNLOADED_WRONG = auto()
    REFUSED = auto()
    SWITCHING = auto()
    ACTIVATED_RIGHT = auto()
    ACTIVATED_WRONG = auto()
    RESUMED_REMOTE = auto()
    RESUMED_HELD = auto()
    FELL_BACK = auto()
    ORPHANED = auto()
    PROVEN = auto()
    WINDOW_OVER = auto()
    WINDOW_OVER_UNCHANGED = auto()
    CANCELED = auto()
    CANCELED_UNCHANGED = auto()


_Row = Mapping[Stimulus, tuple[PlaneState, tuple[Instruction, ...]]]

_FAILED: Final = (PlaneState.FAILED, (Instruction.REPORT,))
_UNDONE: Final = (PlaneState.ROLLED_BACK, (Instruction.FALL_BACK, Instruction.REPORT))
_CAME_BACK: Final = (PlaneState.ROLLED_BACK, (Instruction.REPORT,))
_DOWNLOAD: Final = (PlaneState.DOWNLOADING, (Instruction.DOWNLOAD,))
_SWITCH: Final = (PlaneState.VERIFIED, (Instruction.SWITCH,))
_PROVE: Final = (PlaneState.PENDING_CONFIRM, ())


def _at_rest(state: PlaneState) -> _Row:
    return {
        Stimulus.ORDERED_REMOTE: _DOWNLOAD,
        Stimulus.ORDERED_HELD: _SWITCH,
        Stimulus.ORDERED_RUNNING: _PROVE,
        # Nobody is left who could confirm what is on trial, so it must not stay.
        Stimulus.ORPHANED: (state, (Instruction.FALL_BACK,)),
    }


TRANSITIONS: Final[Mapping[PlaneState, _Row]] = {
    PlaneState.IDLE: _at_rest(PlaneState.IDLE),
    PlaneState.DOWNLOADING: {
        Stimulus.DOWNLOADED_RIGHT: _SWITCH,
        Stimulus.DOWNLOADED_WRONG: _FAILED,
        Stimulus.REFUSED: _FAILED,
        Stimulus.CANCELED_UNCHANGED: _FAILED,
        Stimulus.RESUMED_REMOTE: _DOWNLOAD,
        Stimulus.RESUMED_HELD: _SWITCH,
    },
    PlaneState.VERIFIED: {
        Stimulus.SWITCHING: (PlaneState.INSTALLING, ()),
        Stimulus.REFUSED: _FAILED,
        Stimulus.CANCELED_UNCHANGED: _FAILED,
        Stimulus.RESUMED_REMOTE: _DOWNLOAD,
        Stimulus.RESUMED_HELD: _SWITCH,
    },
    PlaneState.INSTALLING: {
        Stimulus.ACTIVATED_RIGHT: _PROVE,
        Stimulus.ACTIVATED_WRONG: _UNDONE,
        Stimulus.REFUSED: _FAILED,
        Stimulus.FELL_BACK: _CAME_BACK,
        Stimulus.RESUMED_REMOTE: _DOWNLOAD,
        Stimulus.RESUMED_HELD: _SWITCH,
    },
    PlaneState.PENDING_CONFIRM: {
        Stimulus.PROVEN: (PlaneState.CONFIRMED, (Instruction.CONFIRM, Instruction.REPORT)),
        Stimulus.WINDOW_OVER: _UNDONE,
        Stimulus.WINDOW_OVER_UNCHANGED: _FAILED,
        Stimulus.CANCELED: _UNDONE,
        Stimulus.CANCELED_UNCHANGED: _FAILED,
        Stimulus.FELL_BACK: _CAME_BACK,
        # It was rebooted between the mark that confirms and the record of it: it proves itself again.
        Stimulus.ACTIVATED_RIGHT: _PROVE,
    },
    PlaneState.CONFIRMED: _at_rest(PlaneState.CONFIRMED),
    PlaneState.ROLLED_BACK: _at_rest(PlaneState.ROLLED_BACK),
    PlaneState.FAILED: _at_rest(PlaneState.FAILED),
    PlaneState.INSTALLED_UNVERIFIED: _at_rest(PlaneState.INSTALLED_UNVERIFIED),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where the plane stands now, and what the shell has to do about it."""

    progress: Progress
    instructions: tuple[Instruction, ...] = ()


def advance(progress: Progress, event: Event, now: float) -> Outcome:
    """Take one event; the same progress, event and time always give the same outcome."""
    progress = _noted(progress, event, now)
    stimulus = _stimulus(progress, event, now)
    if (transition := TRANSITIONS[progress.state].get(stimulus)) is None:
        return Outcome(progress)
    state, instructions = transition
    if isinstance(event, Ordered):
        progress = Progress(order=event.order)
    progress = replace(progress, state=state, cause=_cause(progress, event, stimulus))
    if state is PlaneState.INSTALLING:
        progress = replace(progress, changed=True)
    if state is PlaneState.PENDING_CONFIRM and progress.order is not None:
        progress = replace(progress, confirm_by=now + progress.order.window.total_seconds(), results=())
    return Outcome(progress, instructions)


def failing_probes(progress: Progress) -> tuple[ProbeResult, ...]:
    """What the required probes found that ran after the change and did not pass."""
    required = {probe.name for probe in progress.order.required} if progress.order else set()
    return tuple(result for result in progress.results if result.name in required and not result.passed)


def failed_probes(results: Iterable[ProbeResult]) -> Cause:
    """The cause that failing probes are: the names of all, then what each of them found, as far as there is room.

    The same results always give the same text.
    """
    failing = tuple(results)
    names = ", ".join(result.name for result in failing)
    said = [(result.name, " ".join(result.detail.split())) for result in failing if result.detail]
    texts = [detail if len(failing) == 1 else f"{name}: {detail}" for name, detail in said]
    told = ": ".join([names, *filter(None, ["; ".join(texts)])])
    return Cause(Reason.PROBE_FAILED, shortened(told, LONGEST_DETAIL))


def probes_named(detail: str) -> list[str]:
    """The names of the probes that a text of `failed_probes` begins with."""
    return [name.strip() for name in detail.partition(":")[0].split(",")]


def shortened(text: str, length: int) -> str:
    """A text that is no longer than that, and shows where it was cut."""
    return text if len(text) <= length else f"{text[: length - 1]}\N{HORIZONTAL ELLIPSIS}"


def _noted(progress: Progress, event: Event, now: float) -> Progress:
    """Keep the newest result of each probe, as long as the window is open; one that passes too late has not passed."""
    if not isinstance(event, Probed) or progress.state is not PlaneState.PENDING_CONFIRM or now >= progress.confirm_by:
        return progress
    late = _late_probes(progress, now)
    kept = {result.name: result for result in progress.results}
    found = (_too_late(one, kept.get(one.name)) if one.name in late else one for one in event.results)
    newest = kept | {result.name: result for result in found}
    return replace(progress, results=tuple(newest.values()))


def _too_late(result: ProbeResult, before: ProbeResult | None) -> ProbeResult:
    """What a probe found after its own time: how it failed within it says more than that it passes now."""
    if not result.passed:
        return result
    return before or replace(result, passed=False, detail="it passed too late")


def _late_probes(progress: Progress, now: float) -> frozenset[str]:
    """The required probes that have not passed and whose own time is over."""
    if progress.order is None:
        return frozenset()
    began = progress.confirm_by - progress.order.window.total_seconds()
    passed = _passed(progress)
    return frozenset(
        probe.name
        for probe in progress.order.required
        if probe.within is not None and probe.name not in passed and now >= began + probe.within.total_seconds()
    )


def _passed(progress: Progress) -> frozenset[str]:
    return frozenset(result.name for result in progress.results if result.passed)


def _stimulus(progress: Progress, event: Event, now: float) -> Stimulus:  # noqa: PLR0911 - one for each event
    match event:
        case Ordered(order, source):
            return Stimulus.NOTHING if order.repeats(progress.order) else _ORDERED[source]
        case Downloaded(content):
            right = progress.order is not None and content == progress.order.content
            return Stimulus.DOWNLOADED_RIGHT if right else Stimulus.DOWNLOADED_WRONG
        case Refused():
            return Stimulus.REFUSED
        case Switching():
            return Stimulus.SWITCHING
        case Activated() if progress.state is PlaneState.PENDING_CONFIRM:
            return Stimulus.NOTHING  # it is on trial already; only a boot begins the trial anew
        case Activated(content):
            right = progress.order is not None and content == progress.order.content
            return Stimulus.ACTIVATED_RIGHT if right else Stimulus.ACTIVATED_WRONG
        case Booted():
            return _on_boot(progress, event)
        case Probed() | Ticked():
            return _in_window(progress, now)
        case Canceled():
            return Stimulus.CANCELED if progress.changed else Stimulus.CANCELED_UNCHANGED
        case _:
            assert_never(event)


_ORDERED: Final = {
    Source.REMOTE: Stimulus.ORDERED_REMOTE,
    Source.HELD: Stimulus.ORDERED_HELD,
    Source.RUNNING: Stimulus.ORDERED_RUNNING,
}


def _on_boot(progress: Progress, booted: Booted) -> Stimulus:
    if progress.order is None or not progress.in_flight:
        return Stimulus.ORPHANED if booted.on_trial else Stimulus.NOTHING
    tried = progress.state is PlaneState.PENDING_CONFIRM or progress.state is PlaneState.INSTALLING
    if tried and booted.content == progress.order.content:
        return Stimulus.ACTIVATED_RIGHT
    if progress.state is PlaneState.PENDING_CONFIRM or (tried and booted.fell_back):
        return Stimulus.FELL_BACK
    return Stimulus.RESUMED_HELD if booted.held else Stimulus.RESUMED_REMOTE


def _in_window(progress: Progress, now: float) -> Stimulus:
    if progress.state is not PlaneState.PENDING_CONFIRM or progress.order is None:
        return Stimulus.NOTHING
    if now >= progress.confirm_by or _late_probes(progress, now):
        return Stimulus.WINDOW_OVER if progress.changed else Stimulus.WINDOW_OVER_UNCHANGED
    proven = _passed(progress).issuperset(probe.name for probe in progress.order.required)
    return Stimulus.PROVEN if proven else Stimulus.NOTHING


def _cause(progress: Progress, event: Event, stimulus: Stimulus) -> Cause | None:
    match stimulus:
        case Stimulus.DOWNLOADED_WRONG | Stimulus.ACTIVATED_WRONG:
            found = event.content if isinstance(event, Downloaded | Activated) else "nothing"
            return Cause(Reason.DIGEST_MISMATCH, f"the bytes are {found}")
        case Stimulus.WINDOW_OVER | Stimulus.WINDOW_OVER_UNCHANGED:
            failing = failing_probes(progress)
            return failed_probes(failing) if failing else Cause(Reason.CONFIRM_TIMEOUT)
        case Stimulus.CANCELED | Stimulus.CANCELED_UNCHANGED:
            return Cause(Reason.CANCELED)
        case Stimulus.ORPHANED:
            return progress.cause
        case _:
            told = isinstance(event, Refused) or stimulus is Stimulus.FELL_BACK
            return event.cause if told and isinstance(event, Refused | Booted) else None
