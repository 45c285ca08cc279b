"""Acts 5 and 6: a release that is refused, and a person who stops one customer's devices."""

from datetime import datetime, timedelta
from typing import Final

from demo.checker.audit import HoldWrite
from demo.checker.evidence import Evidence
from demo.checker.finding import (
    CONFIRMED,
    INSTALL,
    Claim,
    Finding,
    all_of,
    answer_to,
    changed_flash,
    orders_of,
    ring_names,
    running_version,
    time_of,
)
from demo.checker.release_claims import BETTER, everyone_runs, no_restart, succeeded

UNKNOWN_MODEL: Final = "model >=9.0.0"
NEEDY: Final = "2.0.0"
NEXT: Final = {**BETTER, "config": "1.1.0"}
CUSTOMER: Final = "borealis"
TAKES_EFFECT: Final = timedelta(seconds=1)


def refused_by_name(evidence: Evidence) -> Finding:
    """A condition says which requirement nobody can meet, and the plan has not moved."""
    status = evidence.after.plan.get("status", {})
    told = [
        f"{condition['type']}={condition['status']} {condition['reason']}: {condition['message']}"
        for condition in status.get("conditions", ())
        if UNKNOWN_MODEL in condition.get("message", "") and NEEDY in condition.get("message", "")
    ]
    moved = {one.phase for one in evidence.history.plan} & {"Rolling", "Soaking", "RollingBack", "Succeeded"}
    seen = [condition.get("message") for condition in status.get("conditions", ())]
    facts = told[0] if told else f"no condition names {UNKNOWN_MODEL}: {seen}"
    return Finding(
        "the requirement is named", bool(told) and not moved, f"{facts}{f'; it was {moved}' if moved else ''}"
    )


def nothing_was_ordered(evidence: Evidence) -> Finding:
    """Nobody was ordered anything, and the config stands in no device's orders."""
    offenders = [f"{o.device} was ordered {o.plane} {o.version}" for o in evidence.history.orders]
    content = evidence.contents["config"][NEEDY]
    for name, device in evidence.after.devices.items():
        wanted = device["spec"].get("desired", {}).get("config", {})
        if wanted.get("content") == content:
            offenders.append(f"{name} is assigned config {NEEDY}")
    return all_of("nothing was ordered", offenders, "no device was ordered anything")


def nothing_shipped(evidence: Evidence) -> Finding:
    """Not one byte of any flash changed, and the config lies in no slot."""
    devices = sorted(evidence.after.flash)
    offenders = changed_flash(evidence, devices)
    content = evidence.contents["config"][NEEDY]
    for device in devices:
        config = evidence.after.flash[device].planes["config"]
        if content in (config.running.content, config.spare.content):
            offenders.append(f"{device} holds config {NEEDY}")
    return all_of("nothing shipped", offenders, f"not one byte changed in {len(devices)} flash files")


def a_person_held(evidence: Evidence) -> Finding:
    """While it mattered, a hold on the customer's devices stood, made by a person."""
    between = evidence.between
    standing = [
        hold["metadata"]["name"]
        for hold in (between.holds if between else [])
        if hold["spec"].get("scope", {}).get("selector", {}).get("matchLabels") == {"customer": CUSTOMER}
    ]
    made = _created(evidence)
    by_person = made is not None and made.name in standing and "backstay-operator" not in made.by
    return Finding("a person's hold stood", by_person, f"{made.name} by {made.by}" if made else "nobody made a hold")


def nothing_started_there(evidence: Evidence) -> Finding:
    """From one second after the hold until it was lifted, no held device was ordered or began anything."""
    held, _ = _customers(evidence)
    since, until = _held_time(evidence)
    offenders = [
        f"{order.device} was ordered {order.plane} {order.version} at {order.at}"
        for order in evidence.history.orders
        if order.device in held and order.type == INSTALL and since < time_of(order.at) < until
    ]
    begun: set[tuple[str, int]] = set()
    for answer in evidence.history.answers:
        is_new = answer.step > 0 and (answer.device, answer.step) not in begun
        begun.add((answer.device, answer.step))
        if is_new and answer.device in held and since < time_of(answer.at) < until:
            offenders.append(f"{answer.device} began step {answer.step} at {answer.at}")
    seconds = (until - since + TAKES_EFFECT).total_seconds()
    return all_of(
        "nothing started there", offenders, f"for {seconds:.0f} s {len(held)} devices of {CUSTOMER} began nothing"
    )


def held_flash_untouched(evidence: Evidence) -> Finding:
    """Just before the hold was lifted, the flash of the customer's devices that had not begun was as before."""
    held, _ = _customers(evidence)
    since, _until = _held_time(evidence)
    early = {order.device for order in evidence.history.orders if time_of(order.at) <= since}
    waiting = sorted(held - early)
    between = evidence.between
    offenders = [
        f"the flash of {device} has changed"
        for device in waiting
        if between is None or between.flash[device].sha256 != evidence.before.flash[device].sha256
    ]
    if not waiting:
        offenders.append("every device of the customer had begun before the hold, so nothing was shown")
    return all_of("held devices were not touched", offenders, f"{len(waiting)} of {len(held)} waited, byte for byte")


def others_went_on(evidence: Evidence) -> Finding:
    """Meanwhile the other customers' devices were ordered, confirmed, and all got there."""
    _, others = _customers(evidence)
    since, until = _held_time(evidence)
    between = evidence.between
    confirmed = {
        order.device
        for order in orders_of(evidence, "config", NEXT["config"])
        if order.device in others
        and since < time_of(order.at)
        and (answer := answer_to(evidence, order, CONFIRMED))
        and time_of(answer.at) < until
    }
    offenders = [
        f"{device} did not get it"
        for device in others
        if between is None or running_version(evidence, between, device, "config") != NEXT["config"]
    ]
    if not confirmed:
        offenders.append("no other device was ordered it and confirmed while the hold stood")
    return all_of("the others went on", offenders, f"{len(confirmed)} other devices took it while the hold stood")


def caught_up(evidence: Evidence) -> Finding:
    """Once the hold was lifted, the waiting devices got it too, each in a ring."""
    held, _ = _customers(evidence)
    _, until = _held_time(evidence)
    late = [o for o in orders_of(evidence, "config", NEXT["config"]) if o.device in held and time_of(o.at) >= until]
    offenders = [f"{order.device} was in no ring" for order in late if order.ring not in ring_names(evidence)]
    if not late:
        offenders.append("nobody was ordered it after the hold")
    return all_of("lifted, they caught up", offenders, f"{len(late)} devices of {CUSTOMER} followed")


def _customers(evidence: Evidence) -> tuple[set[str], set[str]]:
    """The customer's devices, and the others."""
    of = {name: device["metadata"].get("labels", {}).get("customer") for name, device in evidence.after.devices.items()}
    held = {name for name, customer in of.items() if customer == CUSTOMER}
    return held, set(of) - held


def _created(evidence: Evidence) -> HoldWrite | None:
    return next((write for write in evidence.history.holds if write.verb in ("create", "patch")), None)


def _held_time(evidence: Evidence) -> tuple[datetime, datetime]:
    """From when nothing may start, until when; the end of the act where nobody lifted the hold."""
    made = _created(evidence)
    lifted = next((write for write in evidence.history.holds if made and write.verb == "delete"), None)
    since = time_of(made.at) + TAKES_EFFECT if made else time_of(evidence.before.at)
    return since, time_of(lifted.at if lifted else evidence.after.at)


ACT_5: Final[tuple[Claim, ...]] = (refused_by_name, nothing_was_ordered, nothing_shipped)
ACT_6: Final[tuple[Claim, ...]] = (
    a_person_held,
    nothing_started_there,
    held_flash_untouched,
    others_went_on,
    caught_up,
    lambda evidence: everyone_runs(evidence, NEXT),
    no_restart,
    succeeded,
)
