"""Pages in their own words: what is paged in which phase, and what is not."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from backstay.core.actions import Alert, AlertKind
from backstay.core.alerts import blocked_alert, provider_alerts, standing_alerts
from backstay.core.devices import RevisionName
from backstay.core.planes import Plane
from backstay.core.reasons import Because, Reason
from backstay.core.revision import Phase, RevisionState, Segment
from tests.laws.release_world import plan_of

PLAN = plan_of()
STATE = RevisionState(
    RevisionName("abcdef0123-1"),
    1,
    "abcdef0123",
    Phase.ROLLING,
    datetime(2026, 1, 5, 12, tzinfo=UTC),
    plane=Plane.MODEL,
    reverted=(Plane.CONFIG, Plane.MODEL),
    cause=Because(Reason.SIGNAL_FAILED, "accuracy fell"),
)


@pytest.mark.parametrize(
    ("phase", "page"),
    [
        (
            Phase.ROLLING_BACK,
            Alert(AlertKind.ROLLING_BACK, "plan vision returns its model: accuracy fell", Plane.MODEL),
        ),
        (
            Phase.VERIFYING,
            Alert(
                AlertKind.ROLLING_BACK,
                "plan vision returned its model and verifies that health returns: accuracy fell",
                Plane.MODEL,
            ),
        ),
        (
            Phase.ROLLED_BACK,
            Alert(
                AlertKind.ROLLED_BACK,
                "plan vision was rolled back: the config, model went back and health returned: accuracy fell",
                Plane.MODEL,
            ),
        ),
        (
            Phase.UNRESOLVED,
            Alert(
                AlertKind.UNRESOLVED,
                "plan vision needs a person, although the config, model went back: accuracy fell",
                Plane.MODEL,
            ),
        ),
        (Phase.HALTED, Alert(AlertKind.HALTED, "plan vision stopped and waits for a person: accuracy fell")),
    ],
)
def test_phase_pages_what_it_does_and_why(phase: Phase, page: Alert) -> None:
    assert standing_alerts(PLAN, replace(STATE, phase=phase)) == (page,)


@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.ROLLING, Phase.SOAKING, Phase.STABILIZING, Phase.SUCCEEDED])
def test_phase_pages_nobody_when_all_goes_as_planned(phase: Phase) -> None:
    assert standing_alerts(PLAN, replace(STATE, phase=phase)) == ()


def test_rollback_that_a_person_asked_for_pages_only_when_it_does_not_end_well() -> None:
    asked = replace(STATE, asked_by="ada")
    assert standing_alerts(PLAN, replace(asked, phase=Phase.ROLLING_BACK)) == ()
    assert standing_alerts(PLAN, replace(asked, phase=Phase.ROLLED_BACK)) == ()
    assert len(standing_alerts(PLAN, replace(asked, phase=Phase.UNRESOLVED))) == 1


@pytest.mark.parametrize(
    ("confined", "where"),
    [
        ({"segment": Segment("hardware", "rev-b")}, " where hardware=rev-b"),
        ({"confined_to_ring": True}, " in the ring that failed"),
    ],
)
def test_page_says_to_what_a_rollback_is_confined(confined: dict[str, object], where: str) -> None:
    (page,) = standing_alerts(PLAN, replace(STATE, phase=Phase.ROLLING_BACK, **confined))  # type: ignore[arg-type]
    assert page.summary == f"plan vision returns its model{where}: accuracy fell"


def test_page_says_so_when_no_cause_is_on_record() -> None:
    (page,) = standing_alerts(PLAN, replace(STATE, phase=Phase.HALTED, cause=None))
    assert page.summary.endswith(": no cause is on record")


def test_pages_name_everything_that_waits_or_is_broken() -> None:
    waits = (
        Because(Reason.PROVIDER_ERROR, "accuracy: 503"),
        Because(Reason.NO_DATA, "latency: nothing"),
        Because(Reason.PROVIDER_ERROR, "restarts: 503"),
    )
    assert provider_alerts(PLAN, waits) == (
        Alert(
            AlertKind.PROVIDER_ERROR,
            "the health of plan vision cannot be read, so nothing is promoted: accuracy: 503; restarts: 503",
        ),
    )
    assert provider_alerts(PLAN, waits[1:2]) == ()
    assert blocked_alert(PLAN, waits[:2]).summary == "plan vision cannot go on: accuracy: 503; latency: nothing"
