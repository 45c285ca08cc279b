"""Waits until a release has ended, for scripts, in the manner of `kubectl rollout status`."""

import asyncio
import sys
from typing import TYPE_CHECKING, Final

from backstay.cli.caller import Caller
from backstay.cli.status import has_ended, reasons

if TYPE_CHECKING:
    from backstay.api.releaseplan import ReleasePlan

LOOK_SECONDS: Final = 0.5


async def waited(caller: Caller, name: str, patience: float, *, quiet: bool) -> None:
    """Return once the plan has ended, after a line for each thing that happened; for programs on standard error.

    Raises:
        Unavailable: it has not ended after `patience` seconds, if that is not 0.
        BackstayError: there is no such plan, or the cluster does not let it be read.
    """
    from backstay.adapters.kube.client import RELEASE_PLANS
    from backstay.api.releaseplan import ReleasePlan
    from backstay.errors import Unavailable

    told = ""
    try:
        async with caller.connected() as (kube, namespace), asyncio.timeout(patience or None):
            while True:
                try:
                    plan = ReleasePlan.from_document(await kube.get(RELEASE_PLANS, name, namespace))
                except Unavailable as error:
                    line = f"{error}; trying again"
                else:
                    if has_ended(plan):
                        return
                    line = _line(plan)
                if line != told:
                    print(told := line, file=sys.stderr if quiet else sys.stdout, flush=True)
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError as error:
        raise Unavailable(f"{name} has not ended after {patience:g} s: {told}") from error


def _line(plan: "ReleasePlan") -> str:
    """Where it is now, without what only the clock changes."""
    found = plan.status
    if found.observed_generation < plan.metadata.generation:
        return f"{plan.metadata.name}: the operator has not looked at what was applied yet"
    ring = next((one for one in found.rings if one.name == found.ring), None)
    where = "" if ring is None else f" ring {ring.name}, {ring.confirmed} of {ring.target} confirmed"
    why = "; ".join(words for words, _ in reasons(plan))
    head = " ".join(filter(None, (plan.metadata.name, found.revision)))
    return f"{head}: {found.phase or 'Pending'}{where}{f' ({why})' if why else ''}"
