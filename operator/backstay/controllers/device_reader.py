"""Reads EdgeDevices as they come, and says so where one asks for what this version cannot do.

A device's status is the device's own word, of which the operator may take back that it is reachable and no more; so it
says it in an Event.
"""

from typing import Any

from backstay.api import EdgeDevice
from backstay.api.device_conversion import asks_for_more, device_from, is_enrolled, namespace_of, newcomer_from
from backstay.api.support import unsupported
from backstay.controllers.enrolment import Waiting
from backstay.core.devices import Device
from backstay.ports.journal import Entry, Journal, Subject, Weight

Json = dict[str, Any]


class DeviceReader:
    """Turns raw objects into device records."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._told: dict[str, int] = {}

    def read(self, raw: Json) -> tuple[str, Device] | Waiting:
        """The namespace and the record of a device; apart from them, one that has not been let in.

        Raises:
            Refused: the object is not a device that this version understands.
        """
        device = device_from(raw)
        if not is_enrolled(raw):
            return Waiting(newcomer_from(raw), _subject(raw), device.resource_version)
        if asks_for_more(raw["spec"]):
            self._tell(raw)
        return namespace_of(raw), device

    def _tell(self, raw: Json) -> None:
        """Once for each generation, because only a person changes it back."""
        metadata = raw["metadata"]
        if self._told.get(metadata["uid"]) == metadata["generation"]:
            return
        self._told[metadata["uid"]] = metadata["generation"]
        beyond = "; ".join(map(str, unsupported(EdgeDevice.from_document(raw))))
        message = f"the device gets no orders: {beyond}"
        self._journal.record(Entry(_subject(raw), "NotYetSupported", message, Weight.WARNING))


def _subject(raw: Json) -> Subject:
    metadata = raw["metadata"]
    return Subject(raw["apiVersion"], raw["kind"], metadata["namespace"], metadata["name"], metadata["uid"])
