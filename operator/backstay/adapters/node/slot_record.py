"""Which release the images in each group of slots came from, on disk before they are written there.

RAUC knows the digest of the images that it has written whole, and counts how often it has; the artifact that a bundle
was, and the step that ordered it, only this record knows. An entry is believed where RAUC's digests and counts are
those that the entry foresaw and the group has been made the one that boots, so that what a group holds is always told
by the group. For each group the entry of the change under way is kept and the one before.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backstay.adapters.node.durable import write_file
from backstay.adapters.node.rauc_service import Group
from backstay.adapters.node.releases import from_note, to_note
from backstay.core.planes import ContentDigest, Plane, Release


@dataclass(frozen=True, slots=True)
class SlotImage:
    """An image in a slot."""

    slot: str
    sha256: str | None
    """None where the factory wrote it, and not RAUC."""
    installs: int
    """How often RAUC has written the slot, once this image is in it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a group holds, once a change is made."""

    release: Release
    images: tuple[SlotImage, ...]
    step: int
    activations: int
    """How often the group was made the one that boots next, once this change is made."""
    confirmed: bool = False
    left: bool = False
    """The agent itself went back from it, so that the bootloader did not end its trial."""

    def agrees(self, group: Group, primary: str | None) -> bool:
        """Tell whether the group holds just these images, by this very installation, and this change was made."""
        # RAUC counts an activation after the bootloader has it, and a power cut may come between.
        active = group.root.is_booted or primary == group.root.name or group.root.activations >= self.activations
        found = {slot.name: (slot.sha256, slot.installs) for slot in group.slots}
        return active and all(found.get(one.slot) == (one.sha256, one.installs) for one in self.images)


class SlotRecord:
    """Keeps the entries of all groups in one file."""

    def __init__(self, path: Path, plane: Plane) -> None:
        """Use the file `path`."""
        self._path = path
        self._plane = plane

    def entry(self, group: Group, primary: str | None) -> Entry | None:
        """The newest entry that agrees with what the group holds, where `primary` is the slot that boots next."""
        entries = self._read().get(group.root.name, ())
        return next((entry for entry in entries if entry.agrees(group, primary)), None)

    def write(self, group: Group, entry: Entry, present: Entry | None) -> None:
        """Put down what a group will hold, beside the entry of what it holds at present, which it may fail to leave.

        Raises:
            OSError: the disk did not take it; the record is as before.
        """
        entries = self._read()
        entries[group.root.name] = (entry,) if present is None else (entry, present)
        record = {name: [_to_record(one) for one in kept] for name, kept in entries.items()}
        write_file(self._path, json.dumps(record).encode())

    def _read(self) -> dict[str, tuple[Entry, ...]]:
        """All entries; a record that cannot be read says nothing."""
        try:
            record = json.loads(self._path.read_bytes())
            return {name: tuple(_from_record(one, self._plane) for one in kept) for name, kept in record.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}


def _to_record(entry: Entry) -> dict[str, Any]:
    return {
        "content": entry.release.content,
        "release": to_note(entry.release),
        "images": [[one.slot, one.sha256, one.installs] for one in entry.images],
        "step": entry.step,
        "activations": entry.activations,
        "confirmed": entry.confirmed,
        "left": entry.left,
    }


def _from_record(record: Mapping[str, Any], plane: Plane) -> Entry:
    return Entry(
        release=from_note(record["release"], plane, ContentDigest(record["content"])),
        images=tuple(SlotImage(str(slot), sha256, int(count)) for slot, sha256, count in record["images"]),
        step=int(record["step"]),
        activations=int(record["activations"]),
        confirmed=bool(record["confirmed"]),
        left=bool(record["left"]),
    )
