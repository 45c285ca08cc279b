"""Which records of earlier revisions nothing needs any more.

A record says what a revision shipped and under which rules. It is needed as long as its revision runs, as long as any
device runs or keeps or is ordered what it shipped, and, after it has ended, for as long as the plan retains versions.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from backstay.core.devices import RevisionName
from backstay.core.planes import ContentDigest


@dataclass(frozen=True, slots=True)
class Record:
    """One revision that was started, and the contents that it shipped."""

    revision: RevisionName
    contents: frozenset[ContentDigest]


def unneeded(
    records: Iterable[Record],
    *,
    current: RevisionName,
    ended: Mapping[RevisionName, datetime],
    in_use: frozenset[ContentDigest],
    retain: timedelta,
    now: datetime,
) -> tuple[RevisionName, ...]:
    """The revisions whose records may go, in the order of the records.

    `ended` says when the plan's last revisions ended; one that is not in it ended before all of these, and is needed
    only by devices. `in_use` is what any device of the namespace runs, keeps to fall back to, or is ordered to run.
    """
    return tuple(
        record.revision
        for record in records
        if record.revision != current
        and not record.contents & in_use
        and ((at := ended.get(record.revision)) is None or at + retain <= now)
    )
