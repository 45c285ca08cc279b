"""The devices of a simulated release: what they do with an order, and how long it takes.

Every device is one record, replaced when it changes; what is known of all together is counted as they change.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from random import Random
from typing import Final

from backstay.core.actions import Dispatch, Withdraw
from backstay.core.classes import class_named
from backstay.core.devices import (
    Assignment,
    Device,
    DeviceName,
    Drill,
    PlaneState,
    PlaneStatus,
    RevisionName,
    Step,
    StepType,
)
from backstay.core.observed import GroupRules
from backstay.core.plan import Plan
from backstay.core.planes import Plane
from backstay.simulate.rollout.faults import Faults, Outage
from backstay.simulate.rollout.pace import Pace

NOTICED_SECONDS: Final = 300.0
"""So long after its last word a silent device counts as unreachable."""
_GIVES_UP_SECONDS: Final = 30.0
"""So long a device waits for a registry that does not answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a device will have to say of the step that it has answer."""

    after_seconds: float
    state: PlaneState
    reason: str = ""


class Crowd:
    """All devices, in truth."""

    def __init__(
        self,
        plan: Plan,
        devices: Iterable[Device],
        faults: Faults,
        probes: Mapping[Plane, str],
        groups: Mapping[str, GroupRules],
        *,
        seed: int,
    ) -> None:
        self.devices: Final = {device.name: device for device in devices}
        self.changed: Final[dict[DeviceName, None]] = {}
        """Devices that have changed since somebody last looked and cleared this."""
        self.pace: Final = Pace(plan.deadlines, seed)
        self._target: Final = {plane: release.content for plane, release in plan.target.items()}
        self._plan: Final = plan
        self._probes: Final = probes
        self._registry: Final[tuple[Outage, ...]] = faults.registry
        drawn = _Draw(tuple(self.devices), seed)
        self._failing: Final = {plane: drawn.share(f"bad-{plane}", share) for plane, share in faults.bad.items()}
        self._ill: Final = {plane: drawn.share(f"silent-{plane}", share) for plane, share in faults.silent.items()}
        self._falls_silent: Final = drawn.share("falls-silent", faults.falls_silent)
        self.offline: Final = drawn.share("offline", faults.offline.share if faults.offline else Fraction(0))
        self._mute: Final[set[DeviceName]] = set()
        self._bad: Final = {plane: self._target[plane] for plane in faults.planes}
        self._rules: Final = {name: rules for name, rules in groups.items() if rules.max_unavailable is not None}
        self._groups: Final = groups
        self._unavailable: Final[defaultdict[str, int]] = defaultdict(int)
        self._sizes: Final[defaultdict[str, int]] = defaultdict(int)
        self._taking_part: Final[set[DeviceName]] = set()
        self._assignments: Final[dict[tuple[str, str, str], Assignment]] = {}
        """Devices that are ordered the same share one record of it."""
        self.took_part: Final[defaultdict[str, int]] = defaultdict(int)
        """Devices of each ring that were ordered anything."""
        self.ill: Final[defaultdict[tuple[str, Plane], int]] = defaultdict(int)
        """Devices of each ring on which a version does harm that only signals show."""
        self.new = self.bad = self.most_bad = 0
        self.first_bad: float | None = None
        self.last_back: float | None = None
        self._version = 1
        for device in self.devices.values():
            for name in device.groups:
                self._sizes[name] += 1
            self.new += self._is_new(device)
            self.bad += self._is_bad(device)
        for name in self.offline:
            self.set_reachable(name, is_reachable=False)

    # --- what the API server is told

    def group_rules(self) -> dict[str, GroupRules]:
        """The rules of all groups, and how their devices stand."""
        return {
            name: GroupRules(
                rules.paused, rules.windows, rules.max_unavailable, self._sizes[name], self._unavailable[name]
            )
            for name, rules in self._groups.items()
        }

    def order(self, order: Dispatch, revision: RevisionName, now: datetime) -> bool:
        """Write an order down, unless the device has changed since it was seen."""
        device = self.devices.get(order.device)
        if device is None or device.resource_version != order.resource_version:
            return False
        release = order.release
        if order.device not in self._taking_part:
            self._taking_part.add(order.device)
            self.took_part[order.ring] += 1
        key = (revision, order.ring, release.content)
        if (assignment := self._assignments.get(key)) is None:
            assignment = self._assignments[key] = Assignment(
                self._plan.name, revision, order.ring, release.version, release.content, release.artifact
            )
        step = Step(
            order.number, release.plane, order.type, now, order.expires, attempt=order.attempt, drill=order.drill
        )
        self._write(device, device.planes, {**device.assigned, release.plane: assignment}, step)
        return True

    def withdraw(self, order: Withdraw) -> bool:
        """Take an order back, unless the device has changed since it was seen."""
        device = self.devices.get(order.device)
        if device is None or device.step is None or device.resource_version != order.resource_version:
            return False
        step = device.step
        withdrawn = Step(
            step.number,
            step.plane,
            step.type,
            step.issued,
            step.expires,
            withdrawn=True,
            attempt=step.attempt,
            drill=step.drill,
        )
        self._write(device, device.planes, device.assigned, withdrawn)
        return True

    # --- what devices do

    def answer_to(self, name: DeviceName, number: int, seconds: float) -> Answer | None:
        """What a device will say to the order that it was just given; None where nothing is ever heard of it.

        That it has taken the order up is not written: all that would change is a deadline, by half a minute.
        """
        device = self.devices[name]
        step = device.step
        if step is None or step.number != number or not self.is_heard(device):
            return None
        asked = self.pace.until_asked(step.plane)
        answer = self._answer(device, step, seconds + asked)
        return Answer(asked + answer.after_seconds, answer.state, answer.reason)

    def falls_silent(self, name: DeviceName, number: int, now: datetime) -> None:
        """The device takes up its order, and that was its last word."""
        device = self.devices[name]
        step = device.step
        self._mute.add(name)
        if step is None or step.number != number:
            return
        old = device.status(step.plane)
        status = PlaneStatus(
            old.running, old.version, old.fallback, old.fallback_version, PlaneState.DOWNLOADING, number, "", now
        )
        self._write(device, {**device.planes, step.plane: status}, device.assigned, step)

    def will_fall_silent(self, name: DeviceName) -> bool:
        """Tell whether a device is one of those whose first step is their last."""
        return name in self._falls_silent

    def _answer(self, device: Device, step: Step, seconds: float) -> Answer:
        plane, content = step.plane, device.assigned[step.plane].content
        status = device.status(plane)
        if content == status.running:
            return Answer(1.0, PlaneState.CONFIRMED)
        takes = self.pace.activate(plane)
        is_here = content == status.fallback and (
            step.type is StepType.RETURN or not class_named(device.device_class).overwrites_fallback(plane)
        )
        if not is_here:
            download = self.pace.download(plane)
            if (given_up := self._gives_up(seconds, download)) is not None:
                return Answer(given_up, PlaneState.FAILED, "DownloadFailed: the registry does not answer")
            takes += download
        if step.drill is Drill.BREAK:
            return Answer(takes, PlaneState.ROLLED_BACK, "ProbeFailed: rehearsal")
        if content == self._target.get(plane) and device.name in self._failing.get(plane, ()):
            return Answer(takes, PlaneState.ROLLED_BACK, f"ProbeFailed: {self._probes[plane]}")
        return Answer(takes, PlaneState.CONFIRMED)

    def _gives_up(self, begins: float, download: float) -> float | None:
        """After how many seconds a download fails, where it meets an outage of the registry."""
        for outage in self._registry:
            at, ends = outage.at.total_seconds(), outage.ends.total_seconds()
            if begins < ends and at < begins + download:
                return max(0.0, at - begins) + _GIVES_UP_SECONDS
        return None

    def end(self, name: DeviceName, number: int, answer: Answer, seconds: float, now: datetime) -> bool:
        """The device answers its order; False where it has another one by now, or nobody hears it."""
        device = self.devices[name]
        step = device.step
        if step is None or step.number != number or not self.is_heard(device):
            return False
        plane, before, wanted = step.plane, device.status(step.plane), device.assigned[step.plane]
        is_change = answer.state is PlaneState.CONFIRMED and before.running != wanted.content
        running, version, fallback, kept = before.running, before.version, before.fallback, before.fallback_version
        if is_change:
            running, version, fallback, kept = wanted.content, wanted.version, running, version
        status = PlaneStatus(running, version, fallback, kept, answer.state, number, answer.reason, now)
        if wanted.content == self._bad.get(plane) and step.type is StepType.INSTALL and self.first_bad is None:
            self.first_bad = seconds
        if answer.state is PlaneState.CONFIRMED and step.type is StepType.RETURN and step.drill is None:
            self.last_back = seconds
        after = self._write(device, {**device.planes, plane: status}, device.assigned, step)
        if is_change:
            self._count(device, after, plane)
        return True

    def is_heard(self, device: Device) -> bool:
        """Tell whether anything that the device says arrives."""
        return device.reachable and device.name not in self._mute

    def is_mute(self, name: DeviceName) -> bool:
        """Tell whether a device has fallen silent for good."""
        return name in self._mute

    def set_reachable(self, name: DeviceName, *, is_reachable: bool) -> None:
        """The gateway says whether it hears of a device."""
        device = self.devices[name]
        self._write(device, device.planes, device.assigned, device.step, is_reachable=is_reachable)

    def left_bad(self) -> tuple[int, int]:
        """Devices that run a bad version now, and how many of them cannot be reached."""
        bad = [device for device in self.devices.values() if self._is_bad(device)]
        return len(bad), sum(not self.is_heard(device) for device in bad)

    # --- counting

    def _count(self, before: Device, after: Device, plane: Plane) -> None:
        content = self._target.get(plane)
        if content is None:
            return
        is_there, was_there = after.planes[plane].running == content, before.runs(plane, content)
        if is_there and not was_there:
            self.new += self._is_new(after)
        elif was_there and not is_there:
            self.new -= self._is_new(before)
        if plane in self._bad:
            self.bad += self._is_bad(after) - self._is_bad(before)
            self.most_bad = max(self.most_bad, self.bad)
        if plane in self._ill and after.name in self._ill[plane]:
            self.ill[after.assigned[plane].ring, plane] += is_there - was_there

    def _is_new(self, device: Device) -> bool:
        return all(device.runs(plane, content) for plane, content in self._target.items())

    def _is_bad(self, device: Device) -> bool:
        return any(device.runs(plane, content) for plane, content in self._bad.items())

    def _write(
        self,
        device: Device,
        planes: Mapping[Plane, PlaneStatus],
        assigned: Mapping[Plane, Assignment],
        step: Step | None,
        *,
        is_reachable: bool | None = None,
    ) -> Device:
        self._version += 1
        # Written out, because `replace` would be half of the time that a large fleet takes.
        after = Device(
            device.name,
            device.labels,
            device.groups,
            device.device_class,
            device.gateway,
            device.reachable if is_reachable is None else is_reachable,
            device.revoked,
            device.rollback_capable,
            planes,
            assigned,
            step,
            device.failing,
            str(self._version),
            device.uid,
        )
        if self._rules:
            difference = bool(after.in_flight or after.failing) - bool(device.in_flight or device.failing)
            for name in device.groups if difference else ():
                self._unavailable[name] += difference
        self.devices[device.name] = after
        self.changed[device.name] = None
        return after


class _Draw:
    """Who is struck: each fault draws for itself, so that one more of them changes nothing of the others."""

    def __init__(self, names: tuple[DeviceName, ...], seed: int) -> None:
        self._names = sorted(names)
        self._seed = seed

    def share(self, fault: str, share: Fraction) -> frozenset[DeviceName]:
        """So many of all, at least one where the share is not nothing."""
        if not share:
            return frozenset()
        number = max(1, round(share * len(self._names)))
        random = Random(f"{fault}/{self._seed}")  # noqa: S311 - a simulation is to be the same again, and no secret
        return frozenset(random.sample(self._names, number))


def since(start: datetime, seconds: float) -> datetime:
    """The wall clock at a time of the simulation."""
    return start + timedelta(seconds=seconds)
