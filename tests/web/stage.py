"""A stage for the page: the operator's own store, observation, decision and status, without an API server.

Whatever a decision asks for is done to documents in memory, and devices answer as a test says.
"""

import hashlib
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from backstay.adapters.failpoints import Failpoints
from backstay.adapters.system_clock import SystemClock
from backstay.api import EdgeDevice
from backstay.api.device_conversion import device_from
from backstay.controllers.merge import without_nulls
from backstay.controllers.observing import Observer, Sight
from backstay.controllers.orders import Context, hold_document, order_patch
from backstay.controllers.overview import StoreOverview
from backstay.controllers.plan_status import Picture, plan_status
from backstay.controllers.resolution import Resolution, Resolved
from backstay.controllers.snapshots import Snapshots
from backstay.controllers.store import Store
from backstay.core.actions import Decision, Dispatch, Freeze
from backstay.core.decide import decide
from backstay.core.planes import ContentDigest, Plane, Release
from backstay.core.revision import Phase
from backstay.core.signals import Value, Verdict, judge
from backstay.ports.access import Kind, Person
from backstay.ports.chronicle import Happening
from backstay.ports.overview import Decided

Json = dict[str, Any]


def digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


@dataclass
class StageClock:
    """A time that a test sets, or the machine's own, moved."""

    ahead: timedelta = timedelta(0)
    _real: SystemClock = field(default_factory=SystemClock)

    def now(self) -> datetime:
        return (self._real.now() + self.ahead).replace(microsecond=0)

    def monotonic(self) -> float:
        return self._real.monotonic() + self.ahead.total_seconds()

    def pass_by(self, **span: float) -> None:
        self.ahead += timedelta(**span)


@dataclass
class StageAccess:
    """An API server that knows some tokens, and who may list what; an empty set of kinds is no right at all."""

    people: dict[str, Person] = field(default_factory=dict)
    rights: dict[str, dict[str | None, frozenset[Kind]]] = field(default_factory=dict)
    asked: list[tuple[str, Kind, str | None]] = field(default_factory=list)

    def let_in(self, token: str, name: str, rights: Mapping[str | None, frozenset[Kind]]) -> None:
        self.people[token] = Person(name, uid=f"uid-{name}", groups=("system:authenticated",))
        self.rights[name] = dict(rights)

    async def who(self, token: str) -> Person | None:
        return self.people.get(token)

    async def may_list(self, person: Person, kind: Kind, namespace: str | None) -> bool:
        self.asked.append((person.name, kind, namespace))
        rights = self.rights.get(person.name, {})
        return kind in rights.get(None, frozenset()) or kind in rights.get(namespace, frozenset())


@dataclass
class StageChronicle:
    """What happened, as a test tells it; devices are those of the stage."""

    stage: "Stage"
    told: dict[tuple[str, str, str], list[Happening]] = field(default_factory=dict)

    async def events(self, kind: str, namespace: str, name: str) -> tuple[Happening, ...]:
        return tuple(self.told.get((kind, namespace, name), ()))

    async def device(self, namespace: str, name: str) -> EdgeDevice | None:
        raw = self.stage.documents.get((namespace, name))
        return None if raw is None else EdgeDevice.from_document(raw)


class Registry:
    """Knows every version by its name: its bytes are what it is called."""

    def look_up(self, versions: Any, device_class: str, declared: Any, wake: Any) -> Resolution:
        del device_class, declared, wake
        return Resolved({plane: release(plane, wanted.version) for plane, wanted in versions.items()}, {})


def release(plane: Plane, version: str) -> Release:
    content = ContentDigest(digest(f"{plane} {version}"))
    return Release(plane, version, content, (), f"registry.example/vision/{plane}@{content}")


class Stage:
    """A cluster as far as the operator sees it."""

    def __init__(self) -> None:
        self.clock = StageClock()
        self.store = Store()
        self.access = StageAccess()
        self.chronicle = StageChronicle(self)
        self.documents: dict[tuple[str, str], Json] = {}
        self.snapshots = Snapshots(None, Failpoints())  # type: ignore[arg-type]
        self.verdicts: dict[tuple[str, str], dict[str, Verdict]] = {}
        self._version = 1

    @property
    def overview(self) -> StoreOverview:
        return StoreOverview(self.store)

    def _next(self) -> str:
        self._version += 1
        return str(self._version)

    def group(self, namespace: str, name: str, **labels: str) -> None:
        self.store.groups.put(self._object(namespace, name, "DeviceGroup", {"selector": {"matchLabels": labels}}))

    def rule(self, namespace: str, name: str, *signals: Json) -> None:
        self.store.rules.put(self._object(namespace, name, "HealthRule", {"interval": "30s", "signals": list(signals)}))

    def hold(self, namespace: str, name: str, **spec: Any) -> None:
        self.store.holds.put(self._object(namespace, name, "Hold", spec))

    def plan(self, namespace: str, name: str, versions: Mapping[Plane, str], **spec: Any) -> None:
        """Write a plan, or write it anew; what is said of it stays."""
        wanted = {
            plane.value: {"version": version, "artifact": release(plane, version).artifact}
            for plane, version in versions.items()
        }
        document = self._object(namespace, name, "ReleasePlan", {"versions": wanted, **spec})
        known = self.store.plans.get((namespace, name))
        if known is not None:
            document["metadata"]["generation"] = known.raw["metadata"]["generation"] + 1
            document["metadata"]["uid"] = known.raw["metadata"]["uid"]
            document["status"] = known.status
        self.store.plans.put(document)

    def device(self, namespace: str, name: str, labels: Mapping[str, str], **versions: str) -> None:
        """Put up a device that is healthy and runs these versions."""
        since = rfc3339(self.clock.now())
        planes = {
            plane: {
                "running": digest(f"{plane} {version}"),
                "version": version,
                "fallback": digest(f"{plane} {version}"),
                "fallbackVersion": version,
                "state": "Confirmed",
                "since": since,
            }
            for plane, version in versions.items()
        }
        raw = self._object(namespace, name, "EdgeDevice", {"class": "esp32", "gateway": "gw-1"})
        raw["metadata"]["labels"] = dict(labels)
        raw["status"] = {
            "planes": planes,
            "health": {"state": "Healthy"},
            "rollbackCapable": True,
            "slot": "ota_0",
            "agent": "backstay-esp32/0.1.0",
            "conditions": [
                {"type": "Reachable", "status": "True", "reason": "Reporting", "lastTransitionTime": since},
                {"type": "Ready", "status": "True", "reason": "Ready", "lastTransitionTime": since},
            ],
        }
        self._put_device(raw)

    def report(self, namespace: str, name: str, status: Json) -> None:
        """Let a device say something of itself."""
        raw = deepcopy(self.documents[namespace, name])
        _merge(raw, {"status": status})
        self._put_device(raw)

    def vanish(self, namespace: str, name: str) -> None:
        """Let a device no longer be heard of."""
        gone = {
            "type": "Reachable",
            "status": "False",
            "reason": "Silent",
            "message": "its gateway has not heard of it",
            "lastTransitionTime": rfc3339(self.clock.now()),
        }
        self.report(namespace, name, {"conditions": [gone]})

    def turn(self, namespace: str, name: str) -> Decision:
        """Observe, decide, and do what was decided, once."""
        seen = self.store.plans.get((namespace, name))
        assert seen is not None
        assert seen.model is not None, seen.problem
        now = self.clock.now()
        observer = Observer((namespace, name), self.store, self.snapshots, Registry(), lambda: None)
        sight = observer.observe(seen.model, self.verdicts.get((namespace, name), {}))
        assert isinstance(sight, Sight)
        decision = decide(sight.observed, now)
        self.store.note(namespace, name, Decided(sight.observed, decision))
        self._record(seen.raw, sight, decision, now)
        before = sight.observed.state
        if before is not None and (before.revision, before.phase) == (decision.state.revision, decision.state.phase):
            self._act(namespace, sight, decision, now)
        return decision

    def _record(self, raw: Json, sight: Sight, decision: Decision, now: datetime) -> None:
        metadata = raw["metadata"]
        key = (metadata["namespace"], metadata["name"])
        seen = self.store.plans.get(key)
        assert seen is not None
        assert seen.model is not None
        state = decision.state
        if sight.observed.state is not None and sight.observed.state.phase is Phase.PENDING:
            snapshot = type(sight.snapshot)(
                state.revision, state.counter, sight.snapshot.spec, sight.snapshot.rules, sight.snapshot.releases
            )
            self.snapshots._kept[key][state.revision] = snapshot
        ended = decision.ended and self.snapshots.get(key, decision.ended.revision)
        versions = {plane.value: one.version for plane, one in ended.releases.items()} if ended else {}
        picture = Picture(
            seen.model, sight.observed.plan, decision, sight.standing, len(sight.observed.fleet), now, versions
        )
        status = without_nulls(plan_status(picture, seen.status))
        self.store.plans.put({**raw, "metadata": {**metadata, "resourceVersion": self._next()}, "status": status})

    def _act(self, namespace: str, sight: Sight, decision: Decision, now: datetime) -> None:
        plan = self.store.plans.get((namespace, sight.observed.plan.name))
        assert plan is not None
        assert plan.model is not None
        context = Context(plan.model, decision.state.revision, sight.snapshot)
        for action in decision.actions:
            match action:
                case Dispatch():
                    patch = order_patch(action, context, "esp32", now)
                    raw = deepcopy(self.documents[namespace, action.device])
                    _merge(raw, {"spec": patch["spec"]})
                    self._put_device(raw)
                case Freeze():
                    self.store.holds.put(self._stored(hold_document(action, context)))
                case _:
                    raise NotImplementedError(action)

    def obey(self, namespace: str, answers: Callable[[str, Plane, str], str] = lambda *_: "Confirmed") -> None:
        """Let every device with an open order answer it: with a state, and a reason after a colon."""
        for (where, name), raw in list(self.documents.items()):
            device = device_from(raw)
            if where != namespace or not device.in_flight or device.step is None:
                continue
            step, wanted = device.step, device.assigned[device.step.plane]
            state, _, reason = answers(name, step.plane, wanted.version).partition(":")
            if not state:
                continue
            said: Json = {"state": state, "step": step.number, "reason": reason, "since": rfc3339(self.clock.now())}
            before = device.status(step.plane)
            if state == "Confirmed" and wanted.content != before.running:
                said |= {
                    "running": wanted.content,
                    "version": wanted.version,
                    "fallback": before.running,
                    "fallbackVersion": before.version,
                }
            self.report(namespace, name, {"planes": {step.plane.value: said}})

    def measure(self, namespace: str, plan: str, **numbers: float) -> None:
        """What each signal of a plan says from now on."""
        decided = self.store.decided(namespace, plan)
        assert decided is not None
        signals = {signal.name: signal for signal in decided.observed.plan.signals}
        now = self.clock.now()
        self.verdicts[namespace, plan] = {
            name: judge(signals[name], Value(number), signals[name].query, now) for name, number in numbers.items()
        }

    def play(
        self,
        namespace: str,
        plan: str,
        until: Callable[[Decision], bool],
        *,
        answers: Callable[[str, Plane, str], str] = lambda *_: "Confirmed",
        numbers: Mapping[str, float] | None = None,
        step_seconds: float = 20,
    ) -> Decision:
        """Go on until something is so."""
        for _ in range(400):
            decision = self.turn(namespace, plan)
            if until(decision):
                return decision
            self.clock.pass_by(seconds=step_seconds)
            if numbers is not None:
                self.measure(namespace, plan, **numbers)
            self.obey(namespace, answers)
        raise AssertionError(f"{plan} is still {decision.phase}: {decision.because}")

    def _object(self, namespace: str, name: str, kind: str, spec: Json) -> Json:
        return self._stored(
            {
                "apiVersion": "backstay.dev/v1alpha1",
                "kind": kind,
                "metadata": {"namespace": namespace, "name": name},
                "spec": spec,
            }
        )

    def _stored(self, document: Json) -> Json:
        metadata = document["metadata"]
        stored = {
            "uid": f"uid-{document['kind']}-{metadata['namespace']}-{metadata['name']}",
            "generation": 1,
            "creationTimestamp": rfc3339(self.clock.now()),
        }
        return {**document, "metadata": {**stored, **metadata, "resourceVersion": self._next()}}

    def _put_device(self, raw: Json) -> None:
        raw["metadata"]["resourceVersion"] = self._next()
        key = (raw["metadata"]["namespace"], raw["metadata"]["name"])
        self.documents[key] = raw
        self.store.fleets.put((key[0], device_from(raw)))


def _merge(into: Json, patch: Json) -> None:
    """A JSON merge patch.

    Source: RFC 7386
    """
    for key, value in patch.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict):
            _merge(into.setdefault(key, {}), value)
        else:
            into[key] = value
