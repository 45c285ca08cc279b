"""What is found in a manifest, and where it stands."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """What becomes of the object: an error is refused by the API server or the operator, a warning is not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in a file; lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is wrong, or that is probably not what was meant."""

    place: Place
    severity: Severity
    path: str
    """The field, as `spec.rings[1].size`; empty where it is about the document."""
    message: str
    subject: str = ""
    """The object, as `ReleasePlan acme/vision`."""

    def __str__(self) -> str:
        path = f"{self.path}: " if self.path else ""
        return f"{self.place}: {self.severity}: {path}{self.message}"
