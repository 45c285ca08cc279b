"""Where an operator pages people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Protocol

from backstay.core.actions import Alert, AlertKind
from backstay.core.devices import RevisionName
from backstay.core.planes import Plane


class Severity(StrEnum):
    """Whether a page wakes somebody."""

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


CRITICAL: Final = frozenset({AlertKind.ROLLING_BACK, AlertKind.UNRESOLVED, AlertKind.HALTED})
"""The kinds that wake somebody: devices are bad now. The others wait for the morning, and so does the rollout."""

RUNBOOKS: Final = "https://backstay.dev/docs/runbooks"
"""Where the runbooks of `docs/runbooks` are served, for whoever mirrors them nowhere else."""

RUNBOOK: Final[Mapping[AlertKind, str]] = MappingProxyType(
    {
        AlertKind.ROLLING_BACK: "rolling-back",
        AlertKind.ROLLED_BACK: "rolled-back",
        AlertKind.UNRESOLVED: "unresolved",
        AlertKind.HALTED: "halted",
        AlertKind.BLOCKED: "blocked",
        AlertKind.FROZEN: "frozen-version-requested",
        AlertKind.PROVIDER_ERROR: "provider-error",
    }
)
"""The file in `docs/runbooks`, without its `.md`, that says what to do about each kind."""

_WORDS: Final[Mapping[AlertKind, tuple[str, str]]] = MappingProxyType(
    {
        AlertKind.ROLLING_BACK: (
            "Backstay stopped the rollout and is returning devices to what they ran before, one plane at a time.",
            "Nothing is to be done unless it gets stuck; follow it with: {look}",
        ),
        AlertKind.ROLLED_BACK: (
            "Backstay returned the devices, saw health come back, and froze the version.",
            "Mend the version; it ships again only once its hold is deleted: {holds}",
        ),
        AlertKind.UNRESOLVED: (
            "Backstay returned what it could and tries nothing more; the release may not be the cause.",
            "Look at the devices, and at what else changed: {look}; {devices}",
        ),
        AlertKind.HALTED: (
            "Backstay stopped the rollout and returned nothing; devices keep what they run.",
            "Resume it ({resume}), take it back, or give it other versions; see what stopped it: {look}",
        ),
        AlertKind.BLOCKED: (
            "Backstay starts nothing until this is settled; devices keep what they run.",
            "See what it waits for: {look}",
        ),
        AlertKind.FROZEN: (
            "Backstay ships nothing of this revision; devices keep what they run.",
            "Ask for another version, or delete the hold if it is wrong: {holds}",
        ),
        AlertKind.PROVIDER_ERROR: (
            "Backstay promotes nothing and rolls nothing back for it: a failed query is not failed health.",
            "See whether Prometheus answers, and the query of the verdict: {look}",
        ),
    }
)
"""What Backstay did, and what a person does next."""


def page_for(
    alert: Alert, *, namespace: str, plan: str, revision: RevisionName, starts_at: datetime, ends_at: datetime
) -> PageAlert:
    """The page of an alert: what happened, what Backstay did about it, and what to do next."""
    did, following = _WORDS[alert.kind]
    commands = {
        "look": f"kubectl describe releaseplan {plan} -n {namespace}",
        "holds": f"kubectl get holds -n {namespace}",
        "devices": f"kubectl get edgedevices -n {namespace}",
        "resume": f"backstay resume {plan} -n {namespace}",
    }
    return PageAlert(
        alert.kind,
        Severity.CRITICAL if alert.kind in CRITICAL else Severity.WARNING,
        namespace,
        plan,
        revision,
        alert.plane,
        alert.summary,
        f"{alert.summary.rstrip('.')}. {did} {following.format(**commands)}",
        starts_at,
        ends_at,
    )
