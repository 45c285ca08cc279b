"""Which records of earlier revisions nothing needs any more.

A record says what a revision shipped and under which rules. It is needed as long as its revision runs, as long as any
device runs or keeps or is ordered what it shipped, and, as long as the plan retains versions, for a return to it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from backstay.core.devices import RevisionName
from backstay.core.planes import ContentDigest
from backstay.core.revision import Outcome, Phase, RevisionState, counter_of


@dataclass(frozen=True, slots=True)
class Record:
    """One revision that was started, and the contents that it shipped."""

    revision: RevisionName
    contents: frozenset[ContentDigest]


def unneeded(
    records: Iterable[Record],
    *,
    state: RevisionState,
    history: Sequence[Outcome],
    in_use: frozenset[ContentDigest],
    retain: timedelta,
    now: datetime,
) -> tuple[RevisionName, ...]:
    """The revisions whose records may go, in the order of the records.

    Time counts from when the first later revision had succeeded: until one has, a return is likely. A revision that the
    history has forgotten is needed only by devices. `in_use` is what any device of the namespace runs, keeps to fall
    back to, or is ordered to run. The running revision is always needed, and so is one that the state does not know of.
    """
    remembered = {outcome.revision for outcome in history}

    def may_be_returned_to(revision: RevisionName) -> bool:
        success = succeeded_after(counter_of(revision), state, history)
        return revision in remembered and (success is None or now < success + retain)

    return tuple(
        record.revision
        for record in records
        if counter_of(record.revision) < state.counter
        and not record.contents & in_use
        and not may_be_returned_to(record.revision)
    )


def succeeded_after(counter: int, state: RevisionState, history: Iterable[Outcome]) -> datetime | None:
    """When the first revision after a counter had succeeded; None while none has.

    Of one that another has followed only its end is on record, which is no earlier than its success.
    """
    times = [
        outcome.ended
        for outcome in history
        if outcome.phase is Phase.SUCCEEDED and counter_of(outcome.revision) > counter
    ]
    if state.phase is Phase.SUCCEEDED and state.counter > counter:
        times.append(state.since)
    return min(times, default=None)
