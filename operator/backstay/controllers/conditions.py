"""Conditions: what holds of an object, in words that every tool reads.

Source: https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md (Ready, Reconciling, Stalled)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from backstay.controllers.times import rfc3339

Json = dict[str, Any]

LONGEST_MESSAGE: Final = 4096


@dataclass(frozen=True, slots=True)
class Says:
    """One condition as it is now; None is Unknown."""

    type: str
    status: bool | None
    reason: str
    message: str = ""


def conditions(says: Iterable[Says], before: Iterable[Mapping[str, Any]], generation: int, now: datetime) -> list[Json]:
    """The conditions as the status carries them; a time stays as long as the status does."""
    earlier = {condition["type"]: condition for condition in before}
    return [_condition(one, earlier.get(one.type), generation, now) for one in says]


def _condition(one: Says, earlier: Mapping[str, Any] | None, generation: int, now: datetime) -> Json:
    status = "Unknown" if one.status is None else str(one.status)
    is_same = earlier is not None and earlier["status"] == status
    return {
        "type": one.type,
        "status": status,
        "observedGeneration": generation,
        "lastTransitionTime": earlier["lastTransitionTime"] if earlier and is_same else rfc3339(now),
        "reason": one.reason,
        "message": one.message[:LONGEST_MESSAGE],
    }
