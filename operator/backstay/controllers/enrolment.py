"""Devices that no person has put up: kept apart from all others, and let in where a group's rule says so."""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from backstay.adapters.kube.client import EDGE_DEVICES, KubeClient
from backstay.api.conversion import enrolment_rule_from
from backstay.controllers.store import Store
from backstay.core.devices import Device
from backstay.core.enrolment import Enrol, EnrolmentRule, LeaveToPerson, Newcomer, enrolment_of
from backstay.errors import BackstayError, Conflict, NotFound
from backstay.ports.journal import Entry, Journal, Subject, Weight
from backstay.ports.leadership import Leader

PAUSE_SECONDS: Final = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A device that is not enrolled, as it stands in the API server."""

    newcomer: Newcomer
    subject: Subject
    resource_version: str


class Enrolment:
    """Hands enrolled devices on, and sees to the others; fulfils `backstay.adapters.kube.informer.Listener`."""

    def __init__(self, client: KubeClient, store: Store, journal: Journal, leader: Leader) -> None:
        self._client = client
        self._store = store
        self._journal = journal
        self._leader = leader
        self._waiting: dict[tuple[str, str], Waiting] = {}
        self._told: dict[str, str] = {}
        """What was said last of a device that waits, by its uid."""

    def put(self, found: tuple[str, Device] | Waiting) -> None:
        """A device is new, or has changed."""
        match found:
            case Waiting(newcomer, subject):
                # A device that was deleted and has come back under its name is not the one that was let in.
                self._store.fleets.remove(subject.namespace, newcomer.name)
                self._waiting[subject.namespace, newcomer.name] = found
                self._store.enrolment_due.set()
            case (namespace, device):
                self._forget(namespace, device.name)
                self._store.fleets.put((namespace, device))

    def remove(self, namespace: str, name: str) -> None:
        """A device is gone."""
        self._forget(namespace, name)
        self._store.fleets.remove(namespace, name)

    async def run(self) -> None:
        """Let in whom the rules let in, whenever a device or a group has changed, until cancelled."""
        while True:
            await self._store.enrolment_due.wait()
            self._store.enrolment_due.clear()
            for waiting in tuple(self._waiting.values()):
                await self._see_to(waiting)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _see_to(self, waiting: Waiting) -> None:
        match enrolment_of(waiting.newcomer, self._rules(waiting.subject.namespace)):
            case Enrol() as enrol:
                await self._enrol(waiting, enrol)
            case LeaveToPerson(because) if because and self._told.get(waiting.subject.uid) != because:
                self._told[waiting.subject.uid] = because
                message = f"it waits for a person: {because}"
                self._journal.record(Entry(waiting.subject, "EnrolmentUnclear", message, Weight.WARNING))

    async def _enrol(self, waiting: Waiting, enrol: Enrol) -> None:
        subject = waiting.subject
        body = {
            "metadata": {"resourceVersion": waiting.resource_version, "labels": dict(enrol.labels)},
            "spec": {"enrolled": True},
        }
        self._leader.assert_held()
        try:
            await self._client.merge_patch(EDGE_DEVICES, subject.name, body, subject.namespace)
        except (Conflict, NotFound):
            # Somebody was faster; what they did comes by the watch.
            return
        except BackstayError as error:
            log.warning("%s/%s cannot be enrolled now: %s", subject.namespace, subject.name, error)
            self._store.enrolment_due.set()
            return
        self._forget(subject.namespace, subject.name)
        message = f"let in by the rule of {' and '.join(enrol.groups)}"
        log.info("%s/%s: %s", subject.namespace, subject.name, message)
        self._journal.record(Entry(subject, "Enrolled", message))

    def _rules(self, namespace: str) -> Iterator[EnrolmentRule]:
        """The rules that can be read: a group that cannot be lets nobody in."""
        for name, seen in self._store.groups.of_namespace(namespace):
            if seen.model is not None and (rule := enrolment_rule_from(name, seen.model.spec)) is not None:
                yield rule

    def _forget(self, namespace: str, name: str) -> None:
        if (waiting := self._waiting.pop((namespace, name), None)) is not None:
            self._told.pop(waiting.subject.uid, None)
