"""What must hold before a revision ships anything: asked while it is pending, answered in counts."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from backstay.core.devices import Device
from backstay.core.fleet import running_of, version_set
from backstay.core.gates import fewest_confirmed
from backstay.core.observed import Observed
from backstay.core.path import NoPath, path_back, path_between
from backstay.core.planes import Plane, VersionSet
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
    """Planes that another plan manages on the same devices: the one that was there first keeps them."""
    plan, counts = observed.plan, Counter[tuple[Plane, str]]()
    wanted = {rival.name: rival for rival in observed.rivals if rival.planes & plan.target.keys()}
    if not wanted:
        return
    for bucket in observed.fleet.all_buckets():
        for rival in wanted.values():
            shared = rival.planes & plan.target.keys()
            if rival.goes_first and rival.groups & bucket.kind.groups:
                counts.update({(plane, rival.name): bucket.count for plane in shared})
                continue
            for device in bucket:
                theirs = (p for p in shared if (a := device.assigned.get(p)) is not None and a.plan == rival.name)
                counts.update((plane, rival.name) for plane in theirs)
    for (plane, name), count in sorted(counts.items()):
        words = f"plans {plan.name} and {name} both manage the {plane} of {count} devices; take it out of one"
        yield Because(Reason.CONFLICT, words)


def _empty_rings(observed: Observed) -> Iterator[Because]:
    for index, ring in enumerate(observed.plan.rings):
        taken, needed = observed.fleet.counts(index).target, fewest_confirmed(observed.plan, index)
        if taken < needed:
            words = f"ring {ring.name} takes {taken} devices and its gate needs {needed}; widen it or take it out"
            yield Because(Reason.EMPTY_RING, words)


def _missing_paths(observed: Observed, frozen: Frozen) -> Iterator[Because]:
    """Search once for each distinct set that devices run, not once for each device."""
    found: dict[object, Because | None] = {}
    counts: Counter[Because] = Counter()
    for bucket in observed.fleet.all_buckets():
        kind = bucket.kind
        key = (kind.running, kind.kept, kind.device_class)
        if key not in found:
            found[key] = _obstacle(bucket.one(), observed, frozen)
        if (obstacle := found[key]) is not None:
            counts[obstacle] += bucket.count
    for obstacle, count in sorted(counts.items(), key=lambda item: str(item[0])):
        words = f"{count} of {len(observed.fleet)} devices have no safe {_WHAT[obstacle.reason]}: {obstacle.message}"
        yield Because(obstacle.reason, words)


_WHAT: Final = {
    Reason.NO_PATH: "order of changes",
    Reason.NO_WAY_BACK: "way back",
}


def _obstacle(device: Device, observed: Observed, frozen: Frozen) -> Because | None:
    """What stands between a device and the target, or between the target and the way back."""
    plan = observed.plan
    running = version_set(running_of(device), observed.known)
    start = running
    for plane in planes_to_leave_first(device, observed, frozen):
        if earlier := fallback_of(device, plane, observed.known):
            start = start.changed(earlier)
    away = path_back(running, start, plan.rollback.order)
    forward = path_between(start, plan.target)
    if (stop := next((path for path in (away, forward) if isinstance(path, NoPath)), None)) is not None:
        return Because(Reason.NO_PATH, str(stop))
    reached = VersionSet.of({**{release.plane: release for release in start}, **plan.target})
    earlier_set = VersionSet.of({r.plane: r for r in start if r.plane not in plan.irreversible})
    back = path_back(reached, earlier_set, plan.rollback.order)
    if isinstance(back, NoPath):
        return Because(Reason.NO_WAY_BACK, f"{back}; `irreversible: true` on a plane would do without its way back")
    return None
