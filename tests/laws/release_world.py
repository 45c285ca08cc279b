"""A small world for the laws: an API server's truth, devices that obey or do not, and an operator with an old view.

The operator here is the contract that the real shell keeps: it persists the state before it acts, its own writes
are in its view at once, and a write on an object that changed meanwhile is refused.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from backstay.core.actions import Decision, Dispatch, Freeze, Withdraw
from backstay.core.decide import decide
from backstay.core.devices import Assignment, Device, DeviceName, PlaneState, PlaneStatus, Step
from backstay.core.fleet import FleetView, running_of, version_set
from backstay.core.holds import Hold
from backstay.core.observed import Observed
from backstay.core.plan import Count, Plan, Ring, RollbackPolicy, Share
from backstay.core.planes import ContentDigest, Plane, Release, Requirement, VersionRange, unmet_requirements
from backstay.core.revision import ENDS, FINISHES_FIRST, Phase, RevisionState, revision_named, ruling_plan
from backstay.core.selectors import Selector
from backstay.core.signals import Result, Signal, Verdict

START = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
SOAK = timedelta(seconds=30)
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


def device_of(name: str, region: str = "eu") -> Device:
    planes = {
        plane: PlaneStatus(r.content, r.version, ContentDigest(f"sha256:{plane}-0.8.0"), "0.8.0")
        for plane, r in FACTORY.items()
    }
    return Device(DeviceName(name), {"region": region}, planes=planes, resource_version="1")


@dataclass
class World:
    """Truth, and an operator that may be behind it."""

    plan: Plan = field(default_factory=plan_of)
    now: datetime = START
    truth: dict[DeviceName, Device] = field(default_factory=dict)
    holds: tuple[Hold, ...] = ()
    lifted: set[str] = field(default_factory=set)
    state: RevisionState | None = None
    snapshot: Plan | None = None
    seen: dict[DeviceName, Device] = field(default_factory=dict)
    view: FleetView | None = None
    basis: object = None
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    result: Result = Result.PASS
    bad: frozenset[ContentDigest] = frozenset()
    """Contents that make the signal fail while any device runs them."""
    shipped: dict[str, set[tuple[Plane, ContentDigest]]] = field(default_factory=dict)
    succeeded: set[str] = field(default_factory=set)
    decision: Decision | None = None
    dispatches: list[tuple[Dispatch, RevisionState]] = field(default_factory=list)
    loads: list[tuple[str, int, int]] = field(default_factory=list)
    """After each order towards a target: the ring, how many of it are in flight in truth, and its budget."""
    moves: list[tuple[RevisionState | None, RevisionState]] = field(default_factory=list)
    version: int = 1

    # --- the operator

    def observe(self) -> Observed:
        plan = ruling_plan(self.state, self.plan, self.snapshot)
        assert plan is not None
        revision = revision_named(self.state, plan)
        retried_at = self.state.retried_at if self.state else None
        basis = (plan.rings, plan.target, revision, retried_at)
        if self.view is None or self.basis != basis:
            self.basis = basis
            self.view = FleetView(plan, revision, self.seen.values(), retried_at=retried_at)
        proven = {v for name in self.succeeded for v in self.shipped[name]}
        unproven = {v for name, vs in self.shipped.items() if name != revision for v in vs} - proven
        return Observed(
            plan,
            self.view,
            self.state,
            holds=self.holds,
            verdicts=dict(self.verdicts),
            known=KNOWN,
            unproven=frozenset(unproven),
        )

    def tick(self, lose_from: int | None = None) -> Decision:
        """One turn of the operator; it crashes before the action of that index."""
        observed = self.observe()
        self.decision = decision = decide(observed, self.now)
        if decision.state != self.state:
            if self.state is None or decision.state.phase is not self.state.phase or decision.ended:
                self.moves.append((self.state, decision.state))
                self.verdicts = {}
            if decision.state.phase is not Phase.PENDING or decision.ended or self.state is None:
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

    def see_all(self) -> None:
        for name in self.truth:
            self.see(name)

    def measure(self) -> None:
        """Prometheus answers for the present watch."""
        result = self.result
        if result is Result.PASS and any(d.runs(Plane.MODEL, c) for d in self.truth.values() for c in self.bad):
            result = Result.FAIL
        self.verdicts = {"accuracy": Verdict("accuracy", result, self.now, "q", 0.9, "measured")}

    def _apply(self, action: Dispatch | Withdraw | Freeze, observed: Observed) -> None:
        if isinstance(action, Freeze):
            versions = frozenset({(action.plane, action.content)})
            if all(hold.name != action.hold_name for hold in self.holds):
                self.holds = (*self.holds, Hold(action.hold_name, versions=versions, reason=action.evidence))
            return
        device = self.truth.get(action.device)
        if device is None or device.resource_version != action.resource_version:
            if device is not None:
                self.see(device.name)
            return
        if isinstance(action, Withdraw):
            assert device.step is not None
            changed = replace(device, step=replace(device.step, withdrawn=True))
        else:
            assert self.state is not None
            self.dispatches.append((action, self.state))
            release = action.release
            step = Step(action.number, release.plane, action.type, self.now, action.expires)
            assignment = Assignment(
                observed.plan.name, self.state.revision, action.ring, release.version, release.content, release.artifact
            )
            changed = replace(device, step=step, assigned={**device.assigned, release.plane: assignment})
        self.write(changed)
        self.see(device.name)
        if isinstance(action, Dispatch) and self.state is not None and self.state.phase not in FINISHES_FIRST | ENDS:
            self._weigh(observed, action.ring)

    def _weigh(self, observed: Observed, ring: str) -> None:
        """Count the truth anew, without the operator's view or its counters."""
        index = [one.name for one in observed.plan.rings].index(ring)
        onlooker = FleetView(observed.plan, observed.fleet.revision, self.truth.values())
        members = [device for device in self.truth.values() if onlooker.ring_of(device.name) == index]
        flying = [d for d in members if d.step and not d.answered and (d.begun or not d.step.withdrawn)]
        budget = max(1, observed.plan.rings[index].in_flight.of(len(members)))
        self.loads.append((ring, len(flying), budget))

    def write(self, device: Device) -> None:
        self.version += 1
        self.truth[device.name] = replace(device, resource_version=str(self.version))

    # --- the devices

    def begin(self, name: DeviceName) -> None:
        device = self.truth[name]
        if device.step is None or device.begun or device.step.withdrawn or not device.reachable:
            return
        self._report(device, state=PlaneState.DOWNLOADING, since=self.now, step=device.step.number)

    def finish(self, name: DeviceName, *, well: bool, reason: str = "ProbeFailed: camera") -> None:
        device = self.truth[name]
        if device.step is None or not device.begun or device.answered or not device.reachable:
            return
        if not well:
            self._report(device, state=PlaneState.ROLLED_BACK, reason=reason, since=self.now)
            return
        plane, status = device.step.plane, device.status(device.step.plane)
        wanted = device.assigned[plane]
        if status.running == wanted.content:
            self._report(device, state=PlaneState.CONFIRMED, since=self.now)
            return
        self._report(
            device,
            state=PlaneState.CONFIRMED,
            since=self.now,
            running=wanted.content,
            version=wanted.version,
            fallback=status.running,
            fallback_version=status.version,
        )

    def obey(self, *, well: bool = True) -> None:
        """Every device does what it was last told to."""
        for name in list(self.truth):
            self.begin(name)
            self.finish(name, well=well)

    def _report(self, device: Device, **changes: object) -> None:
        assert device.step is not None
        plane = device.step.plane
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


def world_of(count: int = 12, **plan: object) -> World:
    world = World(plan=plan_of(**plan) if plan else plan_of())
    for index in range(count):
        device = device_of(f"cam-{index:02}", "eu" if index % 2 else "us")
        world.truth[device.name] = device
    world.crash()
    return world
