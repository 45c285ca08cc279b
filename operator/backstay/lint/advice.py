"""What an object says by itself that is allowed, and is rarely meant."""

from datetime import datetime, timedelta

from backstay.api import Hold, ReleasePlan
from backstay.api.durations import parse_duration
from backstay.api.releaseplan import Approval, Ring
from backstay.api.scalars import parse_fraction
from backstay.lint.validity import Checked


def advise(one: Checked, now: datetime) -> None:
    """Note what a person would want to be asked about."""
    match one.resource:
        case ReleasePlan() as plan:
            _on_plan(one, plan)
        case Hold() as hold:
            _on_hold(one, hold, now)
        case _:
            pass


def _on_plan(one: Checked, plan: ReleasePlan) -> None:
    spec = plan.spec
    if not spec.health:
        one.warn(("spec",), "the plan names no health: nothing but the devices' own word stops a bad version")
    if spec.rings is None:
        one.warn(("spec",), "the plan names no rings: every device changes at once")
        return
    for index, (ring, later) in enumerate(zip(spec.rings, spec.rings[1:], strict=False)):
        if _takes_all(ring):
            one.warn(
                ("spec", "rings", index + 1),
                f"ring {ring.name} takes every device, so nothing is left for {later.name}",
            )
    last = spec.rings[-1]
    if not any(map(_takes_all, spec.rings)) and last.select is None:
        path = ("spec", "rings", len(spec.rings) - 1, "size")
        one.warn(path, f"the last ring ends at {last.size}: what no ring takes stays as it is")
    for index, ring in enumerate(spec.rings):
        _on_ring(one, ring, index)
    artifacts = [version.artifact for version in spec.versions.by_plane().values()]
    for plane, version in spec.versions.by_plane().items():
        if artifacts.count(version.artifact) > 1:
            one.warn(("spec", "versions", plane, "artifact"), "two planes name the same artifact")


def _on_ring(one: Checked, ring: Ring, index: int) -> None:
    if parse_duration(ring.soak) == timedelta(0) and ring.approval is not Approval.MANUAL:
        one.warn(("spec", "rings", index, "soak"), f"ring {ring.name} is not watched at all before the next one starts")
    if isinstance(ring.max_failed, str) and parse_fraction(ring.max_failed) == 1:
        one.warn(("spec", "rings", index, "maxFailed"), f"ring {ring.name} passes though every device fails")


def _on_hold(one: Checked, hold: Hold, now: datetime) -> None:
    spec = hold.spec
    if spec.until is None and not spec.versions:
        one.warn(("spec",), "the hold has no until: it stands until somebody deletes it")
    if spec.until is not None and spec.until <= now:
        one.warn(("spec", "until"), f"the hold was over at {spec.until:%Y-%m-%d %H:%M}Z, and stops nothing")


def _takes_all(ring: Ring) -> bool:
    return ring.select is None and isinstance(ring.size, str) and parse_fraction(ring.size) == 1
