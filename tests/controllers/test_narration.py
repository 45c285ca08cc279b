"""What people are told of a plan, each thing once."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from backstay.adapters.failpoints import Failpoints
from backstay.controllers.narration import Narrator
from backstay.core.actions import Decision
from backstay.core.devices import DeviceName, Drill, RevisionName
from backstay.core.reasons import Because, Reason
from backstay.core.revision import DrillStage, DrillState, Phase, RevisionState
from backstay.ports.journal import Entry
from tests.api.test_conversion import written_plan

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
STATE = RevisionState(RevisionName("abcdef0123-1"), 1, "abcdef0123", Phase.SOAKING, NOON)
WAITING = Because(Reason.WAITING_FOR_APPROVAL, "ring everyone waits for approval")
RETURNING = DrillState(DeviceName("cam-1"), Drill.ROUND_TRIP)
BROKEN = DrillState(DeviceName("cam-2"), Drill.BREAK)


@dataclass
class Diary:
    """Keeps what it is told."""

    entries: list[Entry] = field(default_factory=list)

    def record(self, entry: Entry) -> None:
        self.entries.append(entry)

    @property
    def told(self) -> list[tuple[str, str, str]]:
        return [(entry.reason, entry.message, entry.weight.value) for entry in self.entries]


def narrator() -> tuple[Narrator, Diary]:
    diary = Diary()
    return Narrator(("acme", "vision"), diary, Failpoints()), diary


def decided(*because: Because, state: RevisionState = STATE, answer: Because | None = None) -> Decision:
    return Decision(state, (), None, because, answer=answer)


def test_narrator_says_how_a_request_was_answered() -> None:
    told, diary = narrator()
    refused = Because(Reason.REQUEST_REFUSED, "ring canary does not wait for approval now")
    told.answered(
        written_plan(), decided(refused, state=replace(STATE, handled="approve@a-1/canary/1"), answer=refused)
    )
    told.answered(written_plan(), decided(WAITING))
    words = "approve@a-1/canary/1: ring canary does not wait for approval now"
    assert diary.told == [("RequestRefused", words, "Warning")]


def test_narrator_says_a_wait_once_when_a_request_is_refused_in_between() -> None:
    told, diary = narrator()
    refused = Because(Reason.REQUEST_REFUSED, "no")
    for decision in (decided(WAITING), decided(refused, answer=refused), decided(WAITING)):
        told.stays(written_plan(), decision)
    assert diary.told == [("WaitingForApproval", WAITING.message, "Warning")]


def test_narrator_names_the_devices_of_a_rehearsal_as_they_go_on() -> None:
    told, diary = narrator()
    begun = replace(STATE, phase=Phase.REHEARSING, drills=(BROKEN, RETURNING))
    later = replace(begun, drills=(replace(BROKEN, stage=DrillStage.BREAKING), RETURNING))
    because = Because(Reason.REHEARSING, "ring canary rehearses recovery")
    for before, after in ((STATE, begun), (begun, begun), (begun, later)):
        told.rehearsed(written_plan(), before, decided(because, state=after))
    assert [message for _, message, _ in diary.told] == [
        "abcdef0123-1 rehearses recovery: cam-2 Break Returning, cam-1 RoundTrip Returning",
        "abcdef0123-1 rehearses recovery: cam-2 Break Breaking",
    ]
