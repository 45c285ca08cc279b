"""How long a whole release takes to play on the simulated clock, by the number of devices and planes."""

import time
from collections.abc import Iterator
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from backstay.core.devices import Device, DeviceName, PlaneStatus
from backstay.core.plan import Count, Plan, Ring, Share
from backstay.core.planes import ContentDigest, Plane, Release
from backstay.core.revision import Phase
from backstay.core.signals import Signal
from backstay.simulate.rollout.world import Setting, play
from tests.scale.measuring import Figure

_OLD: Final = {plane: Release(plane, "1.0.0", ContentDigest(f"sha256:old-{plane}")) for plane in Plane}
_NEW: Final = {plane: Release(plane, "2.0.0", ContentDigest(f"sha256:new-{plane}")) for plane in Plane}
_SIGNAL: Final = Signal("accuracy", "avg(accuracy)", (Plane.MODEL,))
_TWENTY_HOURS: Final = timedelta(hours=20)


def figures(size: int) -> Iterator[Figure]:
    """A release of one plane and one of all three, each through three rings and at least twenty simulated hours."""
    for planes in ((Plane.MODEL,), tuple(Plane)):
        target = {plane: _NEW[plane] for plane in planes}
        rings = (
            Ring("canary", size=Count(min(10, size)), soak=timedelta(hours=2), in_flight=Share(1)),
            Ring("tenth", size=Count(max(1, size // 10)), soak=timedelta(hours=4)),
            Ring("everyone", soak=timedelta(hours=4)),
        )
        plan = Plan("acme", "vision", target, rings, signals=(_SIGNAL,), stability=timedelta(hours=12))
        status = MappingProxyType({p: PlaneStatus(r.content, r.version, r.content, r.version) for p, r in _OLD.items()})
        devices = tuple(Device(DeviceName(f"cam-{n:07}"), planes=status, resource_version="1") for n in range(size))
        known = {release.content: release for release in (*_OLD.values(), *target.values())}
        began = time.perf_counter()
        outcome = play(Setting(plan, devices, known))
        took = 1000 * (time.perf_counter() - began)
        if outcome.phase is not Phase.SUCCEEDED or outcome.ended < _TWENTY_HOURS:
            message = f"the release ended {outcome.phase} after {outcome.ended}"
            raise AssertionError(message)
        hours = outcome.ended.total_seconds() / 3600
        what = f"simulated: {hours:.0f} h, {outcome.orders:,} orders, {', '.join(planes)}"
        yield Figure(what, size, took, took, took, 1)
