"""What the checker says of one claim, and the words and sums that all claims are made of."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from demo.checker.audit import Answer, Order, moment
from demo.checker.context import PLANES
from demo.checker.evidence import Evidence, Moment

NAMED: Final = 5
INSTALL: Final = "Install"
CONFIRMED: Final = "Confirmed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One claim, whether it holds, and the facts either way."""

    claim: str
    held: bool
    facts: str


Claim = Callable[[Evidence], Finding]


def all_of(claim: str, offenders: Iterable[str], otherwise: str) -> Finding:
    """A claim that holds exactly when nobody offends against it; `otherwise` are the facts then."""
    found = sorted(set(offenders))
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return Finding(claim, not found, f"not so: {'; '.join(found[:NAMED])}{more}" if found else otherwise)


def running_version(evidence: Evidence, moment: Moment, device: str, plane: str) -> str:
    """The version that a device runs by the bytes of its flash, named by the artifact that has the same digest."""
    content = moment.flash[device].planes[plane].running.content
    names = {digest: version for version, digest in evidence.contents[plane].items()}
    return names.get(content, content[:19] or "nothing that is whole")


def wrong_versions(evidence: Evidence, moment: Moment, wanted: Mapping[str, str], devices: Iterable[str]) -> list[str]:
    """Devices whose flash, or whose report to the API server, differs from what is wanted, in words."""
    found = []
    for device in devices:
        for plane, version in wanted.items():
            flash = running_version(evidence, moment, device, plane)
            told = reported(moment, device, plane).get("running", "")
            if flash != version:
                found.append(f"the flash of {device} runs {plane} {flash}, not {version}")
            elif told != evidence.contents[plane][version]:
                found.append(f"{device} reports {plane} {told[:19] or 'nothing'}, but its flash has {version}")
    return found


def unconfirmed(moment: Moment, devices: Iterable[str]) -> list[str]:
    """Slots that run without having been confirmed, by the selectors in flash."""
    return [
        f"the {plane} of {device} is {running.state}, not Valid"
        for device in devices
        for plane in PLANES
        if (running := moment.flash[device].planes[plane].running).state not in ("Valid", "Undefined", "")
    ]


def reported(moment: Moment, device: str, plane: str) -> dict[str, Any]:
    """What the API server has of a device's plane."""
    planes = moment.devices[device].get("status", {}).get("planes", {})
    found: dict[str, Any] = planes.get(plane, {})
    return found


def changed_flash(evidence: Evidence, devices: Iterable[str]) -> list[str]:
    """Devices of whose flash at least one byte changed during the act."""
    before, after = evidence.before.flash, evidence.after.flash
    return [f"the flash of {device} has changed" for device in devices if before[device].sha256 != after[device].sha256]


def changed_planes(evidence: Evidence, planes: Iterable[str]) -> list[str]:
    """Devices that run something else in these planes than before the act."""
    before, after = evidence.before.flash, evidence.after.flash
    return [
        f"the {plane} of {device} was {running_version(evidence, evidence.before, device, plane)} "
        f"and is {running_version(evidence, evidence.after, device, plane)}"
        for plane in planes
        for device in after
        if before[device].planes[plane].running.content != after[device].planes[plane].running.content
    ]


def rebooted(evidence: Evidence) -> dict[str, int]:
    """How often each device has booted during the act, by the count in its flash; those that did not are left out."""
    return {
        device: times
        for device, found in evidence.after.flash.items()
        if (times := found.boots - evidence.before.flash[device].boots)
    }


def orders_of(evidence: Evidence, plane: str, version: str) -> list[Order]:
    """The orders to install a version."""
    content = evidence.contents[plane][version]
    found = evidence.history.orders
    return [order for order in found if order.plane == plane and order.content == content and order.type == INSTALL]


def answer_to(evidence: Evidence, order: Order, *states: str) -> Answer | None:
    """A device's final answer to an order, if it is one of these."""
    return next(
        (
            answer
            for answer in evidence.history.answers
            if (answer.device, answer.plane, answer.step) == (order.device, order.plane, order.number)
            and answer.state in states
        ),
        None,
    )


def ring_names(evidence: Evidence) -> list[str]:
    """The plan's rings, in order."""
    return [ring["name"] for ring in evidence.after.plan.get("spec", {}).get("rings", ())]


def phases(evidence: Evidence) -> list[str]:
    """The phases that the act's own revision went through, the one that it ended with, without repetition."""
    own = evidence.after.plan.get("status", {}).get("revision")
    found: list[str] = []
    for status in evidence.history.plan:
        if status.phase and status.revision == own and found[-1:] != [status.phase]:
            found.append(status.phase)
    return found


def seconds_between(first: str, last: str) -> float:
    """How long it took."""
    return round((moment(last) - moment(first)).total_seconds(), 1)


def time_of(text: str) -> datetime:
    """The same as `audit.moment`, under the name that reads best beside a comparison."""
    return moment(text)
