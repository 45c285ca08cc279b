"""Where an operator tells people what it does, as it happens."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Weight(StrEnum):
    """How an entry is shown."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class Subject:
    """The object that an entry is about."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened; the same reason said again of the same object is a repetition, not news."""

    subject: Subject
    reason: str
    message: str
    weight: Weight = Weight.NORMAL
    action: str = "Reconcile"


class Journal(Protocol):
    """Takes entries without making the caller wait; it may drop the oldest when nobody takes them."""

    def record(self, entry: Entry) -> None:
        """Note what happened."""
        ...
