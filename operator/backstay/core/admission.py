"""What must hold before a revision ships anything: asked while it is pending, answered in counts."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from backstay.core.devices import Device
from backstay.core.fleet import running_of, version_set
from backstay.core.gates import fewest_confirmed
from backstay.core.observed import Observed
from backstay.core.path import NoPath, path_back, path_between
from backstay.core.planes import VersionSet
from backstay.core.reasons import Because, Reason
from backstay.core.steps import (
    Frozen,
    fallback_of,
    frozen_versions,
    planes_to_leave_first,
)


def refusals(observed: Observed, now: datetime) -> tuple[Because, ...]:
    """Every reason why the revision may not start, each with all that a person needs to mend it."""
    frozen = frozen_versions(observed.holds, now)
    return (
        *_frozen_versions(observed, frozen),
        *_conflicts(observed),
        *_empty_rings(observed),
        *_missing_paths(observed, frozen),
    )


def _frozen_versions(observed: Observed, frozen: Frozen) -> Iterator[Because]:
    for plane, release in sorted(observed.plan.target.items()):
        if (plane, release.content) in frozen:
            hold = next(hold for hold in observed.holds if (plane, release.content) in hold.versions)
            words = f"{release} is frozen by hold {hold.name} ({hold.reason}); delete the hold to allow it again"
            yield Because(Reason.FROZEN, words)


def _conflicts(observed: Observed) -> Iterator[Because]:
    rivals = Counter(
        (plane, assignment.plan)
        for device in observed.fleet
        for plane, assignment in device.assigned.items()
        if plane in observed.plan.target and assignment.plan in observed.rivals
    )
    for (plane, rival), count in sorted(rivals.items()):
        words = f"plans {observed.plan.name} and {rival} both manage the {plane} of {count} devices; take it out of one"
        yield Because(Reason.CONFLICT, words)


def _empty_rings(observed: Observed) -> Iterator[Because]:
    for index, ring in enumerate(observed.plan.rings):
        taken, needed = observed.fleet.counts(index).target, fewest_confirmed(observed.plan, index)
        if taken < needed:
            words = f"ring {ring.name} takes {taken} devices and its gate needs {needed}; widen it or take it out"
            yield Because(Reason.EMPTY_RING, words)


def _missing_paths(observed: Observed, frozen: Frozen) -> Iterator[Because]:
    """Search once for each distinct set that devices run, not once for each device."""
    found: dict[object, NoPath | None] = {}
    counts: Counter[str] = Counter()
    for device in observed.fleet:
        unsafe = planes_to_leave_first(device, observed, frozen)
        fallbacks = tuple(device.status(plane).fallback for plane in unsafe)
        key = (running_of(device), unsafe, fallbacks, device.device_class)
        if key not in found:
            found[key] = _obstacle(device, observed, frozen)
        if obstacle := found[key]:
            counts[str(obstacle)] += 1
    for words, count in sorted(counts.items()):
        yield Because(
            Reason.NO_PATH,
            f"{count} of {len(observed.fleet)} devices have no safe order of changes: {words}",
        )


def _obstacle(device: Device, observed: Observed, frozen: Frozen) -> NoPath | None:
    """What stands between a device and the target, or between the target and the way back."""
    running = version_set(running_of(device), observed.known)
    start = running
    for plane in planes_to_leave_first(device, observed, frozen):
        if earlier := fallback_of(device, plane, observed.known):
            start = start.changed(earlier)
    away = path_back(running, start, observed.plan.rollback.order)
    forward = path_between(start, observed.plan.target)
    reached = VersionSet.of({**{release.plane: release for release in start}, **observed.plan.target})
    back = path_back(reached, start, observed.plan.rollback.order)
    return next((path for path in (away, forward, back) if isinstance(path, NoPath)), None)
