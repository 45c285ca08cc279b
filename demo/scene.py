"""What the narrator sees of the plan at one moment, and how a change is told in a sentence."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Json = Mapping[str, Any]

ON_THE_WAY: Final = frozenset({"Pending", "Rolling", "Soaking", "Rehearsing", "Stabilizing"})
WATCHED: Final = frozenset({"Soaking", "Stabilizing", "Verifying"})
GOING_BACK: Final = frozenset({"RollingBack", "Verifying"})


@dataclass(frozen=True, slots=True)
class RingScene:
    """One ring."""

    name: str
    target: int
    confirmed: int = 0
    failed: int = 0
    in_flight: int = 0
    offline: int = 0
    is_passed: bool = False


@dataclass(frozen=True, slots=True)
class VerdictScene:
    """What one signal said."""

    signal: str
    result: str
    value: str
    message: str

    def __str__(self) -> str:
        return f"{self.signal} {self.value or '-'} {self.result}"


@dataclass(frozen=True, slots=True)
class Scene:
    """The plan as it stands."""

    generation: int = 0
    observed: int = 0
    revision: str = ""
    phase: str = ""
    ring: str = ""
    rings: tuple[RingScene, ...] = ()
    verdicts: tuple[VerdictScene, ...] = ()
    why: str = ""
    """The operator's own words."""
    stalled: str = ""
    culprit: str = ""
    hold: str = ""

    @property
    def is_answered(self) -> bool:
        """Whether the operator has taken in the plan as it is written."""
        return self.generation == self.observed

    def ring_named(self, name: str) -> RingScene | None:
        """The ring of that name."""
        return next((ring for ring in self.rings if ring.name == name), None)


def scene_of(plan: Json) -> Scene:
    """Read the ReleasePlan."""
    status: Json = plan.get("status", {})
    conditions = {found["type"]: found for found in status.get("conditions", ())}
    stalled, ready = conditions.get("Stalled", {}), conditions.get("Ready", {})
    culprit: Json = status.get("culprit") or {}
    return Scene(
        generation=plan["metadata"].get("generation", 0),
        observed=status.get("observedGeneration", 0),
        revision=status.get("revision", ""),
        phase=status.get("phase") or "",
        ring=status.get("ring", ""),
        rings=tuple(_ring(found) for found in status.get("rings", ())),
        verdicts=tuple(_verdict(found) for found in (status.get("progress") or {}).get("verdicts", ())),
        why=ready.get("message", ""),
        stalled=stalled.get("message", "") if stalled.get("status") == "True" else "",
        culprit=f"{culprit['plane']} {culprit.get('version', '')}" if culprit else "",
        hold=culprit.get("hold", ""),
    )


def told(before: Scene, now: Scene) -> Iterator[str]:
    """What happened between two scenes, in sentences."""
    if now.revision and now.revision != before.revision:
        yield f"revision {now.revision} begins"
    yield from _rings_told(before, now)
    yield from _phase_told(before, now)
    if now.phase in ON_THE_WAY and now.stalled and now.stalled != before.stalled:
        yield f"it waits: {now.stalled}"
    if now.culprit and now.culprit != before.culprit:
        yield f"{now.culprit} is convicted, and frozen by hold {now.hold}"


def _rings_told(before: Scene, now: Scene) -> Iterator[str]:
    same = before.revision == now.revision
    for ring in now.rings:
        earlier = (before.ring_named(ring.name) if same else None) or RingScene(ring.name, ring.target)
        if now.phase == "Rolling" and now.ring == ring.name and (not same or before.ring != ring.name):
            yield f"ring {ring.name} opens for {_devices(ring.target)}"
        if ring.confirmed == ring.target > earlier.confirmed and now.phase in ON_THE_WAY:
            yield f"ring {ring.name}: {ring.confirmed} of {ring.target} confirmed"
        if ring.failed > earlier.failed:
            yield f"ring {ring.name}: {_devices(ring.failed)} failed"
        if ring.is_passed and not earlier.is_passed:
            yield f"ring {ring.name} has passed"


def _phase_told(before: Scene, now: Scene) -> Iterator[str]:
    yield from _verdicts_told(before, now)
    if before.phase == now.phase:
        return
    match now.phase:
        case "RollingBack":
            yield f"the gate has failed, the release goes back: {now.why}"
        case "Rehearsing":
            yield f"recovery is rehearsed in ring {now.ring}"
        case "Verifying":
            yield "every device is back; health is verified"
        case "RolledBack":
            yield "health has returned, the release is rolled back"
        case "Stabilizing":
            yield "everyone has it; the whole fleet is watched a little longer"
        case "Succeeded":
            yield "the release has succeeded"
        case "Unresolved" | "Halted":
            yield f"it stands still and needs a person: {now.why}"
        case _:
            return


def _verdicts_told(before: Scene, now: Scene) -> Iterator[str]:
    """The first verdict of each signal in each watch, and every one that is not like the one before."""
    is_same_watch = (before.revision, before.phase, before.ring) == (now.revision, now.phase, now.ring)
    results = {verdict.signal: verdict.result for verdict in before.verdicts} if is_same_watch else {}
    news = [verdict for verdict in now.verdicts if results.get(verdict.signal) != verdict.result]
    if now.phase not in WATCHED:
        return
    if passed := [f"{verdict.signal} {verdict.value}" for verdict in news if verdict.result == "Pass"]:
        yield f"health of {_watched(now)}: {', '.join(passed)} → Pass"
    for verdict in news:
        if verdict.result != "Pass":
            yield f"{verdict.signal} of {_watched(now)}: {verdict.message} → {verdict.result}"


def _watched(scene: Scene) -> str:
    return f"ring {scene.ring}" if scene.phase == "Soaking" else "all rings"


def _devices(number: int) -> str:
    return f"{number} device{'' if number == 1 else 's'}"


def _ring(found: Json) -> RingScene:
    return RingScene(
        found["name"],
        found.get("target", 0),
        found.get("confirmed", 0),
        found.get("failed", 0),
        found.get("inFlight", 0),
        found.get("offline", 0),
        bool(found.get("passed")),
    )


def _verdict(found: Json) -> VerdictScene:
    return VerdictScene(found["signal"], found["result"], found.get("value") or "", found.get("message", ""))
