"""What a person is paged for: derived from the state, so that a page is due exactly as long as its cause lasts."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from backstay.core.actions import Alert, AlertKind
from backstay.core.plan import Plan
from backstay.core.reasons import Because, Reason
from backstay.core.revision import Phase, RevisionState


def standing_alerts(plan: Plan, state: RevisionState) -> tuple[Alert, ...]:
    """The page that a phase itself is worth; one that goes as planned, or as a person asked, is worth none."""
    if state.phase not in _PAGES or (state.asked_by is not None and state.phase is not Phase.UNRESOLVED):
        return ()
    kind, words = _PAGES[state.phase]
    told = words.format(
        plane=state.plane,
        planes=", ".join(state.reverted),
        where=_where(state),
        cause=state.cause.message if state.cause else "no cause is on record",
    )
    return (Alert(kind, f"plan {plan.name} {told}", None if kind is AlertKind.HALTED else state.plane),)


_PAGES: Final[Mapping[Phase, tuple[AlertKind, str]]] = MappingProxyType(
    {
        Phase.ROLLING_BACK: (AlertKind.ROLLING_BACK, "returns its {plane}{where}: {cause}"),
        Phase.VERIFYING: (AlertKind.ROLLING_BACK, "returned its {plane} and verifies that health returns: {cause}"),
        Phase.ROLLED_BACK: (
            AlertKind.ROLLED_BACK,
            "was rolled back: the {planes} went back{where} and health returned: {cause}",
        ),
        Phase.UNRESOLVED: (
            AlertKind.UNRESOLVED,
            "needs a person, although the {planes} went back{where}: {cause}",
        ),
        Phase.HALTED: (AlertKind.HALTED, "stopped and waits for a person: {cause}"),
    }
)


def _where(state: RevisionState) -> str:
    """What a rollback is confined to, in words."""
    if state.segment is not None:
        return f" where {state.segment}"
    return " in the ring that failed" if state.confined_to_ring else ""


def refusal_alert(plan: Plan, because: Because) -> Alert:
    """The page for a revision that may not start."""
    kind = AlertKind.FROZEN if because.reason is Reason.FROZEN else AlertKind.BLOCKED
    return Alert(kind, f"plan {plan.name} starts nothing: {because.message}")


def blocked_alert(plan: Plan, waits: Iterable[Because]) -> Alert:
    """The page for a wait that only a person can end."""
    return Alert(AlertKind.BLOCKED, f"plan {plan.name} cannot go on: {'; '.join(wait.message for wait in waits)}")


def provider_alerts(plan: Plan, waits: Iterable[Because]) -> tuple[Alert, ...]:
    """The page for health that cannot be read, kept apart from health that is bad."""
    broken = [wait.message for wait in waits if wait.reason is Reason.PROVIDER_ERROR]
    if not broken:
        return ()
    words = f"the health of plan {plan.name} cannot be read, so nothing is promoted: {'; '.join(broken)}"
    return (Alert(AlertKind.PROVIDER_ERROR, words),)
