"""One device: what it runs by its own word, what it is ordered, why, and its life as a timeline."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from backstay.api import EdgeDevice
from backstay.api.conditions import ConditionStatus
from backstay.core.devices import Device, DeviceName, PlaneState
from backstay.core.planes import Plane
from backstay.core.standing import standing_of
from backstay.core.why import explain_device
from backstay.errors import BackstayError
from backstay.ports.access import Kind
from backstay.ports.overview import Decided, Overview
from backstay.web.bars import TONES
from backstay.web.commands import Command, command
from backstay.web.pages.page import Content, Fragment, NotThere, Sources
from backstay.web.rights import Reader

_WELL = frozenset({PlaneState.CONFIRMED, PlaneState.IDLE, PlaneState.VERIFIED})
_BAD = frozenset({PlaneState.FAILED, PlaneState.ROLLED_BACK})


@dataclass(frozen=True, slots=True)
class Moment:
    """Something in a device's life."""

    at: datetime
    title: str
    words: str
    tone: str = "off"
    count: int = 1


@dataclass(frozen=True, slots=True)
class DevicePage:
    """A device by its name."""

    namespace: str
    name: str

    @property
    def calm_seconds(self) -> float:
        """Two seconds: the device is read from the API server when it has changed."""
        return 2.0

    async def read(self, reader: Reader, sources: Sources) -> Content:
        """The page as it is now."""
        kinds = await reader.kinds(self.namespace)
        if Kind.DEVICES not in kinds:
            raise NotThere
        device = sources.overview.device(self.namespace, DeviceName(self.name))
        if device is None:
            raise NotThere
        whole, problem = await self._whole(sources, device.resource_version)
        moments, missing = await self._timeline(device, whole, kinds, sources)
        standing = standing_of(device)
        identity = {
            "device": device,
            "whole": whole,
            "problem": problem,
            "standing": standing,
            "tone": TONES[standing],
            "offered": tuple(_commands(self.namespace, device, whole)),
            "namespace": self.namespace,
            "sees_plans": Kind.PLANS in kinds,
        }
        return Content(
            title=f"{standing}: {self.name}",
            template="device.html",
            headline=f"{self.name} is {standing}",
            fragments={
                "identity": Fragment("identity.html", identity),
                "planes": Fragment("planes.html", {"device": device, "planes": tuple(Plane), **identity}),
                "why": Fragment("device_why.html", {"told": _why(self.namespace, device, kinds, sources)}),
                "timeline": Fragment("timeline.html", {"moments": moments, "missing": missing}),
            },
            namespaces=(self.namespace,),
            namespace=self.namespace,
            kinds=kinds,
            section="devices",
            name=self.name,
        )

    async def _whole(self, sources: Sources, version: str) -> tuple[EdgeDevice | None, str]:
        """The device with all that only the API server keeps."""
        try:
            return await sources.told.device(self.namespace, self.name, version), ""
        except BackstayError as error:
            return None, f"only a part of the device can be shown: {error}"

    async def _timeline(
        self, device: Device, whole: EdgeDevice | None, kinds: frozenset[Kind], sources: Sources
    ) -> tuple[tuple[Moment, ...], str]:
        moments = [*_from_planes(device), *_from_orders(device), *(_from_conditions(whole) if whole else ())]
        missing = ""
        if Kind.EVENTS not in kinds:
            missing = f"you may not list {Kind.EVENTS} in {self.namespace}"
        else:
            try:
                events = await sources.told.events("EdgeDevice", self.namespace, self.name)
            except BackstayError as error:
                missing = f"the Events cannot be read now: {error}"
            else:
                moments += [
                    Moment(one.last or one.at, one.reason, one.message, "wait" if one.warns else "off", one.count)
                    for one in events
                ]
        return tuple(sorted(moments, key=lambda one: one.at, reverse=True)), missing


def _from_planes(device: Device) -> Iterator[Moment]:
    for plane in Plane:
        status = device.status(plane)
        if status.since is None:
            continue
        tone = "bad" if status.state in _BAD else "ok" if status.state in _WELL else "run"
        runs = f"runs {status.version or 'an unnamed version'}" if status.running else "runs nothing"
        words = f"{runs}. {status.reason}" if status.reason else runs
        yield Moment(status.since, f"{plane}: {status.state}", words, tone)


def _from_orders(device: Device) -> Iterator[Moment]:
    step = device.step
    if step is None:
        return
    assignment = device.assigned.get(step.plane)
    what = f"{step.type.lower()} {step.plane}" + (f" {assignment.version}" if assignment else "")
    whose = f" for plan {assignment.plan}, ring {assignment.ring}" if assignment else ""
    drill = f", as a rehearsal ({step.drill})" if step.drill else ""
    attempt = f", attempt {step.attempt}" if step.attempt > 1 else ""
    yield Moment(step.issued, f"step {step.number} ordered", f"{what}{whose}{drill}{attempt}", "run")


def _from_conditions(whole: EdgeDevice) -> Iterator[Moment]:
    for one in whole.status.conditions:
        tone = {ConditionStatus.TRUE: "ok", ConditionStatus.FALSE: "wait"}.get(one.status, "off")
        is_so = {ConditionStatus.TRUE: "", ConditionStatus.FALSE: "not "}.get(one.status, "perhaps ")
        yield Moment(one.last_transition_time, f"{is_so}{one.type}: {one.reason}", one.message, tone)
    if whole.metadata.creation_timestamp is not None:
        yield Moment(whole.metadata.creation_timestamp, "came", f"as a device of class {whole.spec.device_class}")


def _why(namespace: str, device: Device, kinds: frozenset[Kind], sources: Sources) -> tuple[str, ...]:
    """What `backstay why` says of the device; it names holds, so whoever may not see them hears nothing."""
    if not {Kind.PLANS, Kind.HOLDS} <= kinds:
        return (f"you may not list {Kind.PLANS} and {Kind.HOLDS} in {namespace}, which the answer is made of",)
    now = sources.clock.now()
    return tuple(
        "\n".join(explain_device(decided.observed, device.name, now))
        for decided in _decided(sources.overview, namespace)
        if decided.observed.fleet.get(device.name) is not None
    )


def _decided(overview: Overview, namespace: str) -> Iterator[Decided]:
    for known in overview.plans(namespace):
        decided = overview.decided(namespace, known.name)
        if decided is not None:
            yield decided


def _commands(namespace: str, device: Device, whole: EdgeDevice | None) -> Iterator[Command]:
    yield command("hear the same from the command line", "why", device.name, namespace=namespace)
    reason = ("hold", "--device", device.name, "--reason", "WHY")
    yield command("let nothing change it", *reason, namespace=namespace)
    if whole is not None and whole.spec.node and (device.safe or device.failing):
        yield command("bring the node back to normal", "recover", device.name, namespace=namespace)
