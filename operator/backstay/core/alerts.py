"""What a person is paged for: derived from the state, so that a page is due exactly as long as its cause lasts."""

from collections.abc import Iterable

from backstay.core.actions import Alert, AlertKind
from backstay.core.plan import Plan
from backstay.core.reasons import Because, Reason
from backstay.core.revision import Phase, RevisionState


def standing_alerts(plan: Plan, state: RevisionState) -> tuple[Alert, ...]:
    """The page that a phase itself is worth; a phase that goes as planned is worth none."""
    cause = state.cause.message if state.cause else "no cause is on record"
    planes = ", ".join(state.reverted)
    match state.phase:
        case Phase.ROLLING_BACK:
            words = f"plan {plan.name} returns its {state.plane}: {cause}"
            return (Alert(AlertKind.ROLLING_BACK, words, state.plane),)
        case Phase.VERIFYING:
            words = f"plan {plan.name} returned its {state.plane} and verifies that health returns: {cause}"
            return (Alert(AlertKind.ROLLING_BACK, words, state.plane),)
        case Phase.ROLLED_BACK:
            words = f"plan {plan.name} was rolled back: the {planes} went back and health returned: {cause}"
            return (Alert(AlertKind.ROLLED_BACK, words, state.plane),)
        case Phase.UNRESOLVED:
            words = f"plan {plan.name} needs a person: the {planes} went back and health did not return: {cause}"
            return (Alert(AlertKind.UNRESOLVED, words, state.plane),)
        case Phase.HALTED:
            return (Alert(AlertKind.HALTED, f"plan {plan.name} stopped and waits for a person: {cause}"),)
        case _:
            return ()


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
