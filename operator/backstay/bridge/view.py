"""What the bridge knows of its namespace: the devices of its gateway, and the tenant's holds and groups."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from backstay.adapters.kube.informer import is_newer
from backstay.adapters.kube.standing_orders import StandingOrders
from backstay.bridge.journal import Journal, KeptAnswer
from backstay.bridge.records import ServedDevice, with_groups, with_status
from backstay.core.devices import DeviceName, StepType
from backstay.core.holds import Action, Denial, MayNotStart, MayStart, may_start
from backstay.core.planes import ContentDigest, Plane
from backstay.core.selectors import Selector, picked_by
from backstay.ports.clock import Clock

LEFT_ALONE: Final = "the device's pins or mode ask that nothing new starts on it"


@dataclass(frozen=True, slots=True)
class _Placed:
    """A device as a member of its groups, and by what it was placed so."""

    record: ServedDevice
    groups: Mapping[str, Selector]
    placed: ServedDevice


class View:
    """The bridge's copy; it is changed by what the API server says, and asked by every request of a device."""

    def __init__(self, namespace: str, gateway: str, clock: Clock, journal: Journal) -> None:
        self.namespace: Final = namespace
        self.gateway: Final = gateway
        self._clock = clock
        self._journal = journal
        self._devices: dict[DeviceName, ServedDevice] = {}
        self._orders: StandingOrders | None = None
        self._names: dict[tuple[Plane, ContentDigest], str] = {}
        self._placed: dict[DeviceName, _Placed] = {}
        self._waiting = 0

    @property
    def age(self) -> timedelta:
        """How long ago the last whole reading of holds and groups began."""
        if self._orders is None:
            return timedelta.max
        return timedelta(seconds=max(0.0, self._clock.monotonic() - self._orders.began))

    def take_orders(self, orders: StandingOrders) -> None:
        """Rest on a new reading of holds and groups."""
        if self._orders is not None and self._orders.groups == orders.groups:
            # The same groups as one object, so that what was placed by them need not be placed again.
            orders = replace(orders, groups=self._orders.groups)
        self._orders = orders

    def device(self, name: str) -> ServedDevice | None:
        """A device of this gateway with all that it has answered, as a member of the groups that pick it now."""
        if (record := self._devices.get(DeviceName(name))) is None:
            return None
        record = self._with_answers(record)
        return record if self._orders is None else self._place(record, self._orders.groups)

    def _place(self, record: ServedDevice, groups: Mapping[str, Selector]) -> ServedDevice:
        """The device with the groups that pick it; every poll asks, and mostly nothing has changed."""
        found = self._placed.get(record.name)
        if found is None or found.record is not record or found.groups is not groups:
            names = picked_by(groups, record.device.labels)
            found = self._placed[record.name] = _Placed(record, groups, with_groups(record, names))
        return found.placed

    def devices(self) -> list[ServedDevice]:
        """Every device of this gateway with all that it has answered, without its groups."""
        return [self._with_answers(record) for record in self._devices.values()]

    def waiting(self) -> int:
        """How many devices of this gateway are not enrolled."""
        return self._waiting

    def all_written(self) -> Mapping[DeviceName, ServedDevice]:
        """Every device of this gateway as it stands in the API server."""
        return self._devices

    def written(self, name: str) -> ServedDevice | None:
        """A device of this gateway as it stands in the API server."""
        return self._devices.get(DeviceName(name))

    def unwritten(self, name: str) -> tuple[list[KeptAnswer], list[KeptAnswer]]:
        """What a device has answered and its written status lacks, and what of its answers is old news there."""
        record, kept = self.written(name), self._journal.of(DeviceName(name)).values()
        if record is None:
            return [], []
        news = [one for one in kept if one.is_news_to(record.device.uid, record.status)]
        return news, [one for one in kept if one not in news]

    def _with_answers(self, record: ServedDevice) -> ServedDevice:
        for kept in self._journal.of(record.name).values():
            if kept.is_news_to(record.device.uid, record.status):
                record = with_status(record, kept.added_to(record.status))
        return record

    def version_of(self, record: ServedDevice, plane: Plane, content: ContentDigest) -> str | None:
        """The operator's name of a content, as assigned to this device or else to any."""
        own = record.device.assigned.get(plane)
        return own.version if own and own.content == content else self._names.get((plane, content))

    def put_device(self, record: ServedDevice) -> None:
        """Take in a device, unless this version of it or a newer one is known; another gateway's is none of ours."""
        known = self._devices.get(record.name)
        if known and known.device.uid == record.device.uid and not _is_newer(record, known):
            return
        for plane, assignment in record.device.assigned.items():
            self._names[plane, assignment.content] = assignment.version
        if record.device.gateway == self.gateway:
            self._waiting += (not record.enrolled) - (known is not None and not known.enrolled)
            self._devices[record.name] = record
        else:
            self.remove_device(record.name)

    def put_answer(self, record: ServedDevice) -> None:
        """Take in the answer to our own write; one that arrives after the device is gone does not bring it back."""
        if record.name in self._devices:
            self.put_device(record)

    def remove_device(self, name: str) -> None:
        """Forget a device that was deleted, or that another gateway serves now."""
        gone = self._devices.pop(DeviceName(name), None)
        self._waiting -= gone is not None and not gone.enrolled
        self._placed.pop(DeviceName(name), None)

    def may_begin(self, record: ServedDevice, now: datetime) -> MayStart | MayNotStart | None:
        """Ask whether the device may begin, or go on with, the step that it was ordered; None if nothing is open."""
        step, ordered = record.step, record.ordered
        if step is None or ordered is None or not record.device.in_flight:
            return None
        if record.device.revoked and step.type is StepType.INSTALL and not record.device.begun:
            return MayNotStart(Denial.HELD, LEFT_ALONE)
        action = Action(
            device=record.name,
            labels=record.device.labels,
            groups=record.device.groups,
            plane=step.plane,
            type=step.type,
            content=ordered.content,
            expires=step.expires,
            begun=record.device.begun,
        )
        holds = self._orders.holds if self._orders else ()
        return may_start(action, holds, self.age, now)


def _is_newer(record: ServedDevice, known: ServedDevice) -> bool:
    return is_newer(record.device.resource_version, known.device.resource_version)


class DeviceListener:
    """Feeds the view from the informer of EdgeDevices."""

    def __init__(self, view: View) -> None:
        self._view = view

    def put(self, found: ServedDevice) -> None:
        """A device is new, or has changed."""
        self._view.put_device(found)

    def remove(self, namespace: str, name: str) -> None:
        """A device is gone, or is another gateway's now."""
        del namespace
        self._view.remove_device(name)
