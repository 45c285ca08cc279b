"""Where an operator pages people."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from backstay.core.actions import AlertKind
from backstay.core.devices import RevisionName
from backstay.core.planes import Plane


class Severity(StrEnum):
    """Whether a page may wait until the morning."""

    CRITICAL = "critical"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class PageAlert:
    """One page as the receiver shows it; kind, namespace, plan, revision, plane and severity tell it from others."""

    kind: AlertKind
    severity: Severity
    namespace: str
    plan: str
    revision: RevisionName
    plane: Plane | None
    summary: str
    description: str
    starts_at: datetime
    ends_at: datetime
    """It ends by itself then, unless it is sent again before; in the past it is over."""


class Pages(Protocol):
    """Takes pages for delivery; the same page sent again goes on, and is not a second one."""

    async def raise_(self, alerts: Sequence[PageAlert]) -> None:
        """Hand over pages, all of them or none.

        Raises:
            Unavailable: the receiver cannot be reached, or is too busy; none may have been taken.
            Refused: the receiver does not take them, and will not if asked again.
        """
        ...
