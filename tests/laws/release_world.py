"""A small world for the laws: an API server's truth, devices that obey or do not, and an operator with an old view.

The operator here is the contract that the real shell keeps: it persists the state before it acts, its own writes
are in its view at once, and a write on an object that changed meanwhile is refused.
"""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from backstay.core.actions import Action, Decision, Dispatch, Freeze, Withdraw
from backstay.core.decide import decide
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
from backstay.core.fleet import FleetView, running_of, version_set
from backstay.core.holds import Hold
from backstay.core.observed import GroupRules, Observed, Rival
from backstay.core.plan import Count, Plan, Ring, RollbackPolicy, Share
from backstay.core.planes import ContentDigest, Plane, Release, Requirement, VersionRange, unmet_requirements
from backstay.core.reasons import Because
from backstay.core.requests import Request, Unreadable, parse_request
from backstay.core.revision import ENDS, FINISHES_FIRST, Phase, RevisionState, revision_named, ruling_plan
from backstay.core.selectors import EVERYTHING, Selector
from backstay.core.signals import Result, Signal, Verdict

START = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
SOAK = timedelta(seconds=30)
SAYS = {
    Result.PASS: "0.95 is within its limits",
    Result.FAIL: "0.41 is below the minimum of 0.90",
    Result.NO_DATA: "the query returned no series",
    Result.PROVIDER_ERROR: "Prometheus did not answer within 10 s",
    Result.INCONCLUSIVE: "2 devices against 10 of the baseline are too few to compare",
}
ACCURACY = Signal("accuracy", "q", (Plane.MODEL,), failure_limit=2, interval=timedelta(seconds=5))


def release(plane: Plane, version: str, **requires: str) -> Release:
    needs = tuple(Requirement(Plane(name), VersionRange.parse(text)) for name, text in requires.items())
    return Release(plane, version, ContentDigest(f"sha256:{plane}-{version}"), needs, f"registry/{plane}@{version}")


FACTORY = {plane: release(plane, "0.9.0") for plane in Plane}
V1 = {plane: release(plane, "1.0.0") for plane in Plane}
V2 = {
    Plane.FIRMWARE: release(Plane.FIRMWARE, "2.0.0", model=">=0.9.0"),
    Plane.MODEL: release(Plane.MODEL, "2.0.0", firmware=">=2.0.0"),
    Plane.CONFIG: release(Plane.CONFIG, "2.0.0", model=">=2.0.0"),
}
DOWN = {
    Plane.MODEL: release(Plane.MODEL, "1.5.0", firmware="<2.0.0"),
    Plane.FIRMWARE: release(Plane.FIRMWARE, "1.5.0"),
}
TARGETS = {
    "v1": V1,
    "v2": V2,
    "down": DOWN,
    "model": {Plane.MODEL: V1[Plane.MODEL]},
    "config": {Plane.CONFIG: V1[Plane.CONFIG]},
}
KNOWN = {r.content: r for target in (FACTORY, *TARGETS.values()) for r in target.values()}

RINGS = (
    Ring("canary", size=Count(2), minimum=2, soak=SOAK, in_flight=Count(1)),
    Ring("tenth", size=Share(Fraction(1, 3)), soak=SOAK, in_flight=Share(Fraction(1, 2))),
    Ring("eu", selector=Selector.labels(region="eu"), soak=timedelta(0), in_flight=Count(3), max_failed=Count(1)),
    Ring("everyone", soak=SOAK, in_flight=Share(Fraction(1, 5))),
)


def plan_of(target: str = "v1", **changes: object) -> Plan:
    defaults = Plan(
        "acme",
        "vision",
        TARGETS[target],
        RINGS,
        deadlines=dict.fromkeys(Plane, timedelta(minutes=5)),
        signals=(ACCURACY,),
        rollback=RollbackPolicy(verify=timedelta(seconds=20)),
        stability=timedelta(minutes=2),
    )
    return replace(defaults, **changes)


def device_of(name: str, region: str = "eu", **labels: str) -> Device:
    planes = {
        plane: PlaneStatus(r.content, r.version, ContentDigest(f"sha256:{plane}-0.8.0"), "0.8.0")
        for plane, r in FACTORY.items()
    }
    return Device(
        DeviceName(name),
        {"region": region, **labels},
        groups=frozenset({"cameras", region}),
        planes=planes,
        resource_version="1",
    )


@dataclass
class World:
    """Truth, and an operator that may be behind it."""

    plan: Plan = field(default_factory=plan_of)
    now: datetime = START
    truth: dict[DeviceName, Device] = field(default_factory=dict)
    holds: tuple[Hold, ...] = ()
    lifted: set[str] = field(default_factory=set)
    groups: dict[str, GroupRules] = field(default_factory=dict)
    """Rules of groups; who is unavailable is counted from what the operator sees."""
    rivals: tuple[Rival, ...] = ()
    asked: str | None = None
    """The request that stands on the plan, as a person wrote it."""
    state: RevisionState | None = None
    snapshot: Plan | None = None
    """The rules of the running revision, put on record when it left Pending."""
    seen: dict[DeviceName, Device] = field(default_factory=dict)
    view: FleetView | None = None
    basis: object = None
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    result: Result = Result.PASS
    said: dict[str, Result] = field(default_factory=dict)
    """What single signals say, whatever the others do."""
    bad: frozenset[ContentDigest] = frozenset()
    """Contents that make the signal fail while any device runs them."""
    failing_probes: frozenset[ContentDigest] = frozenset()
    """Contents whose probes fail on every device: it goes back by itself."""
    registry_away: bool = False
    """Nothing new can be downloaded; what a device holds already, it can switch to."""
    silent: set[DeviceName] = field(default_factory=set)
    """Devices that say nothing any more; the operator does not know it."""
    stubborn: set[DeviceName] = field(default_factory=set)
    """Devices on which every order to go back fails."""
    unbreakable: set[DeviceName] = field(default_factory=set)
    """Devices that confirm although they were told to fail a probe."""
    liars: set[DeviceName] = field(default_factory=set)
    """Devices that confirm every change and make none."""
    refusal: Because | None = None
    """Why the shell cannot resolve the versions that the plan asks for now."""
    known: Mapping[ContentDigest, Release] = field(default_factory=lambda: KNOWN)
    """What was ever resolved here."""
    shipped: dict[str, set[tuple[Plane, ContentDigest]]] = field(default_factory=dict)
    succeeded: set[str] = field(default_factory=set)
    decision: Decision | None = None
    dispatches: list[tuple[Dispatch, RevisionState]] = field(default_factory=list)
    withdrawals: list[Withdraw] = field(default_factory=list)
    loads: list[tuple[str, int, int]] = field(default_factory=list)
    """After each order towards a target: the ring, how many of it are in flight in truth, and its budget."""
    group_loads: list[tuple[str, int, int]] = field(default_factory=list)
    """The same for each group that has a budget."""
    drilled: list[tuple[str, DeviceName, Step, PlaneState]] = field(default_factory=list)
    """The answers to orders of rehearsals, each with its revision."""
    onlookers: tuple[Callable[["World", Observed, Decision], None], ...] = ()
    """They see each decision before anything is done about it."""
    moves: list[tuple[RevisionState | None, RevisionState]] = field(default_factory=list)
    answers: list[Because] = field(default_factory=list)
    version: int = 1

    # --- the operator

    def observe(self) -> Observed:
        is_running = self.state is not None and self.state.phase is not Phase.PENDING
        written = self.plan if self.refusal is None else None
        plan = ruling_plan(self.state, written, self.snapshot if is_running else None)
        plan = plan or replace(self.plan, target={})
        unnamed = self.state.revision if self.state else RevisionName("")
        revision = revision_named(self.state, plan) if plan.target else unnamed
        retried_at = self.state.retried_at if self.state else None
        basis = (plan.rings, plan.target, plan.deadlines, plan.retries, revision, retried_at)
        if self.view is None or self.basis != basis:
            self.basis = basis
            self.view = FleetView(plan, revision, self.seen.values(), retried_at=retried_at)
        proven = {v for name in self.succeeded for v in self.shipped[name]}
        unproven = {v for name, vs in self.shipped.items() if name != revision for v in vs} - proven
        return Observed(
            plan,
            self.view,
            self.state,
            refusal=self.refusal,
            holds=self.holds,
            verdicts=dict(self.verdicts),
            known=self.known,
            unproven=frozenset(unproven),
            groups={name: self._counted(name, rules, self.seen) for name, rules in self.groups.items()},
            rivals=self.rivals,
            request=self._request(),
        )

    def _request(self) -> Request | Unreadable | None:
        if self.asked is None or (self.state is not None and self.state.handled == self.asked):
            return None
        return parse_request(self.asked, "ada")

    @staticmethod
    def _counted(name: str, rules: GroupRules, devices: Mapping[DeviceName, Device]) -> GroupRules:
        mine = [device for device in devices.values() if name in device.groups]
        unavailable = sum(bool(device.in_flight or device.failing) for device in mine)
        return replace(rules, devices=len(mine), unavailable=unavailable)

    def tick(  # noqa: C901 - one turn, with all that may be lost in it
        self, lose_from: int | None = None, *, refuse_status: bool = False, lose: AbstractSet[int] = frozenset()
    ) -> Decision:
        """One turn of the operator; it crashes before the action of that index.

        Where the API server refuses the status nothing is done. Orders of the indices in `lose` never arrive, and the
        operator reads their devices again.
        """
        observed = self.observe()
        self.decision = decision = decide(observed, self.now)
        for onlooker in self.onlookers:
            onlooker(self, observed, decision)
        if refuse_status and decision.state != self.state:
            return decision
        if decision.answer is not None:
            self.answers.append(decision.answer)
        if decision.state != self.state:
            before = self.state
            if before is None or decision.state.phase is not before.phase or decision.ended:
                self.moves.append((before, decision.state))
                self.verdicts = {}
            if before is not None and before.phase is Phase.PENDING and decision.phase is not Phase.PENDING:
                self.snapshot = observed.plan
            self.state = decision.state
            self.shipped.setdefault(decision.state.revision, set()).update(
                (plane, r.content) for plane, r in observed.plan.target.items()
            )
            if decision.phase is Phase.SUCCEEDED:
                self.succeeded.add(decision.state.revision)
        for index, action in enumerate(decision.actions):
            if index == lose_from:
                self.crash()
                return decision
            if index in lose:
                if not isinstance(action, Freeze):
                    self.see(action.device)
                continue
            self._apply(action, observed)
        return decision

    def settle(self, limit: int = 50) -> None:
        """Decide until nothing moves at this instant."""
        for _ in range(limit):
            before = self.state
            self.tick()
            if self.state == before and not (self.decision and self.decision.actions):
                return

    def crash(self) -> None:
        """The operator starts anew: it lists with quorum and has no memory of verdicts."""
        self.seen = dict(self.truth)
        self.view = None
        self.verdicts = {}

    def see(self, name: DeviceName) -> None:
        """The informer delivers one device's latest state."""
        if (device := self.truth.get(name)) is not None:
            self.seen[name] = device
            if self.view is not None:
                self.view.put(device)
        elif self.seen.pop(name, None) is not None and self.view is not None:
            self.view.remove(name)

    def see_all(self) -> None:
        for name in {*self.truth, *self.seen}:
            self.see(name)

    def measure(self) -> None:
        """Prometheus answers for the present watch."""
        result = self.result
        if result is Result.PASS and any(d.runs(Plane.MODEL, c) for d in self.truth.values() for c in self.bad):
            result = Result.FAIL
        for signal in self.plan.signals:
            says = self.said.get(signal.name, result)
            self.verdicts[signal.name] = Verdict(signal.name, says, self.now, "q", 0.9, SAYS[says])

    def _apply(self, action: Action, observed: Observed) -> None:
        if isinstance(action, Freeze):
            versions = frozenset({(action.plane, action.content)})
            segment = action.segment
            scope = EVERYTHING if segment is None else Selector.labels(**{segment.key: segment.value})
            if all(hold.name != action.hold_name for hold in self.holds):
                hold = Hold(action.hold_name, scope, versions=versions, reason=action.evidence)
                self.holds = (*self.holds, hold)
            return
        device = self.truth.get(action.device)
        if device is None or device.resource_version != action.resource_version:
            self.see(action.device)
            return
        if isinstance(action, Withdraw):
            assert device.step is not None
            self.withdrawals.append(action)
            changed = replace(device, step=replace(device.step, withdrawn=True))
        else:
            assert self.state is not None
            self.dispatches.append((action, self.state))
            release = action.release
            step = Step(
                action.number,
                release.plane,
                action.type,
                self.now,
                action.expires,
                attempt=action.attempt,
                drill=action.drill,
            )
            assignment = Assignment(
                observed.plan.name, self.state.revision, action.ring, release.version, release.content, release.artifact
            )
            changed = replace(device, step=step, assigned={**device.assigned, release.plane: assignment})
        self.write(changed)
        self.see(device.name)
        is_normal = self.state is not None and self.state.phase not in FINISHES_FIRST | ENDS
        if isinstance(action, Dispatch) and is_normal and action.drill is None and not _flies(device):
            self._weigh(observed, action)

    def _weigh(self, observed: Observed, action: Dispatch) -> None:
        """Count what devices do in truth, among those that the operator knows and where it takes them to belong."""
        fleet = observed.fleet
        index = [one.name for one in observed.plan.rings].index(action.ring)
        members = [device for device in fleet if fleet.ring_of(device.name) == index]
        flying = [d for d in self._truth_of(members) if _flies(d) and d.step and not d.step.drill]
        budget = max(1, observed.plan.rings[index].in_flight.of(len(members)))
        self.loads.append((action.ring, len(flying), budget))
        for name in self.seen[action.device].groups & self.groups.keys():
            limit = self.groups[name].max_unavailable
            if limit is not None:
                mine = [device for device in fleet if name in device.groups]
                ill = {device.name for device in mine if device.failing}
                busy = sum(_flies(device) or device.name in ill for device in self._truth_of(mine))
                self.group_loads.append((name, busy, limit.of(len(mine))))

    def _truth_of(self, devices: Sequence[Device]) -> list[Device]:
        return [self.truth[device.name] for device in devices if device.name in self.truth]

    def write(self, device: Device) -> None:
        self.version += 1
        self.truth[device.name] = replace(device, resource_version=str(self.version))

    # --- the devices

    def begin(self, name: DeviceName) -> None:
        device = self.truth[name]
        if device.step is None or device.begun or device.step.withdrawn or not device.reachable or name in self.silent:
            return
        self._report(device, state=PlaneState.DOWNLOADING, since=self.now, step=device.step.number)

    def finish(  # noqa: PLR0911 - a chain of what a device may do
        self, name: DeviceName, *, well: bool, reason: str = "ProbeFailed: camera"
    ) -> None:
        device = self.truth[name]
        if device.step is None or not device.begun or device.answered or not device.reachable or name in self.silent:
            return
        plane, status = device.step.plane, device.status(device.step.plane)
        wanted = device.assigned[plane]
        is_held = wanted.content in {status.running, status.fallback}
        if self.registry_away and not is_held:
            self._report(device, state=PlaneState.FAILED, reason="DownloadFailed: 503", since=self.now)
            return
        if device.step.drill is Drill.BREAK and name not in self.unbreakable:
            self._report(device, state=PlaneState.ROLLED_BACK, reason="ProbeFailed: rehearsal", since=self.now)
            return
        is_return = device.step.type is StepType.RETURN
        if name in self.liars:
            self._report(device, state=PlaneState.CONFIRMED, since=self.now, reason="")
            return
        if not well or (wanted.content in self.failing_probes and not is_return):
            self._report(device, state=PlaneState.ROLLED_BACK, reason=reason, since=self.now)
            return
        if is_return and name in self.stubborn:
            self._report(device, state=PlaneState.FAILED, reason="Rejected: the slot is broken", since=self.now)
            return
        if status.running == wanted.content:
            self._report(device, state=PlaneState.CONFIRMED, since=self.now, reason="")
            return
        self._report(
            device,
            state=PlaneState.CONFIRMED,
            since=self.now,
            reason="",
            running=wanted.content,
            version=wanted.version,
            fallback=status.running,
            fallback_version=status.version,
        )

    def obey(self, *, well: bool = True, order: Sequence[DeviceName] | None = None) -> None:
        """Every device does what it was last told to."""
        for name in order or list(self.truth):
            self.begin(name)
            self.finish(name, well=well)

    def regress(self, name: DeviceName, plane: Plane) -> None:
        """The bootloader goes back on its own, long after the change; never to a set that would not work."""
        device = self.truth[name]
        status = device.status(plane)
        if status.fallback is None or status.fallback not in KNOWN:
            return
        if unmet_requirements(version_set(running_of(device), KNOWN).changed(KNOWN[status.fallback])):
            return
        swapped = replace(
            status,
            running=status.fallback,
            version=status.fallback_version,
            fallback=status.running,
            fallback_version=status.version,
        )
        self.write(replace(device, planes={**device.planes, plane: swapped}))

    def _report(self, device: Device, **changes: object) -> None:
        assert device.step is not None
        plane = device.step.plane
        state = changes.get("state")
        if device.step.drill is not None and isinstance(state, PlaneState) and state.is_answer:
            revision = device.assigned[plane].revision
            self.drilled.append((revision, device.name, device.step, state))
        self.write(replace(device, planes={**device.planes, plane: replace(device.status(plane), **changes)}))

    # --- what an onlooker counts

    def unmet(self) -> list[str]:
        return [
            f"{device.name}: {unmet}"
            for device in self.truth.values()
            for unmet in unmet_requirements(version_set(running_of(device), KNOWN))
        ]

    def run(self, seconds: int, *, well: bool = True, step: int = 5) -> None:
        """Let time pass with everybody doing their part."""
        for _ in range(0, seconds, step):
            self.obey(well=well)
            self.see_all()
            self.measure()
            self.settle()
            self.now += timedelta(seconds=step)


def _flies(device: Device) -> bool:
    step = device.step
    return step is not None and not device.answered and (device.begun or not step.withdrawn)


def world_of(count: int = 12, **plan: object) -> World:
    world = World(plan=plan_of(**plan) if plan else plan_of())
    for index in range(count):
        device = device_of(f"cam-{index:02}", "eu" if index % 2 else "us")
        world.truth[device.name] = device
    world.crash()
    return world
