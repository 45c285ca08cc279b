"""Acts 1 and 2: a release reaches everyone ring by ring, and a better model goes out alone."""

from typing import Final

from demo.checker.context import PLANES
from demo.checker.evidence import Evidence, Reading
from demo.checker.finding import (
    CONFIRMED,
    INSTALL,
    Claim,
    Finding,
    all_of,
    answer_to,
    changed_planes,
    phases,
    rebooted,
    ring_names,
    running_version,
    seconds_between,
    time_of,
    unconfirmed,
    wrong_versions,
)

FACTORY: Final = {"firmware": "0.9.0", "model": "0.9.0", "config": "0.9.0"}
FIRST: Final = {"firmware": "1.0.0", "model": "1.0.0", "config": "1.0.0"}
BETTER: Final = {**FIRST, "model": "1.1.0"}
RETURN: Final = "Return"
ROLLED_BACK: Final = "RolledBack"
BREAK: Final = "Break"
FAILED_AS_TOLD: Final = "ProbeFailed: rehearsal"
DRILLED: Final = 2
"""One goes back and forward again, and one more is broken on its way forward."""
LOWEST_ACCURACY: Final = 0.80
ACCURACY: Final = "accuracy"
AGREEMENT: Final = 0.1
"""How far Prometheus' answer of now may lie from what the operator saw: a scrape may have arrived since."""


def everyone_runs(evidence: Evidence, wanted: dict[str, str]) -> Finding:
    """Flash, API server and Prometheus agree on what every device runs."""
    devices = sorted(evidence.after.flash)
    offenders = wrong_versions(evidence, evidence.after, wanted, devices) + unconfirmed(evidence.after, devices)
    wanted_set = "/".join(wanted[plane] for plane in PLANES)
    if evidence.running != {wanted_set: len(devices)}:
        offenders.append(f"Prometheus counts {evidence.running}, not {len(devices)} with {wanted_set}")
    facts = f"{len(devices)} devices run and confirmed {wanted_set}, by their flash, their reports and Prometheus"
    return all_of("every device runs the release", offenders, facts)


def came_from_the_factory(evidence: Evidence) -> Finding:
    """Before the act nobody had anything but the factory's versions."""
    devices = sorted(evidence.before.flash)
    offenders = [
        f"{device} had {plane} {found}"
        for device in devices
        for plane, version in FACTORY.items()
        if (found := running_version(evidence, evidence.before, device, plane)) != version
    ]
    return all_of("devices come from the factory with 0.9.0", offenders, f"{len(devices)} flash files held 0.9.0")


def ring_after_ring(evidence: Evidence) -> Finding:
    """No device of a ring was ordered anything before the ring before it had confirmed."""
    orders = [order for order in evidence.history.orders if order.type == INSTALL and order.rehearsal != BREAK]
    offenders, so_far, words = [], "", []
    for ring in ring_names(evidence):
        own = [order for order in orders if order.ring == ring]
        if not own:
            offenders.append(f"ring {ring} took no device")
            continue
        first = min(own, key=lambda order: time_of(order.at))
        if so_far and time_of(first.at) <= time_of(so_far):
            offenders.append(f"{first.device} of ring {ring} was ordered at {first.at}, before {so_far}")
        answers = [answer_to(evidence, order, CONFIRMED) for order in own]
        offenders += [f"{o.device} never confirmed step {o.number}" for o, a in zip(own, answers, strict=True) if not a]
        so_far = max((answer.at for answer in answers if answer), key=time_of, default=so_far)
        words.append(f"{ring} {len({order.device for order in own})}")
    return all_of("each ring waited for the one before", offenders, f"devices by ring: {', '.join(words)}")


def one_plane_at_a_time(evidence: Evidence) -> Finding:
    """Every device took firmware, then model, then config: the model needs the new firmware, the config the model."""
    offenders = []
    for device in evidence.after.flash:
        taken = [order.plane for order in evidence.history.orders if order.device == device]
        if taken != list(PLANES):
            offenders.append(f"{device} took {', '.join(taken) or 'nothing'}")
    return all_of("no incompatible set, not for a moment", offenders, "every device: firmware, then model, then config")


def succeeded(evidence: Evidence) -> Finding:
    """The plan went straight to its end."""
    found = phases(evidence)
    straight = set(found) <= {"Pending", "Rolling", "Soaking", "Rehearsing", "Stabilizing", "Succeeded"}
    ends = found[-1:] == ["Succeeded"] == [evidence.after.plan.get("status", {}).get("phase")]
    words = f"{found[0]} → … → {found[-1]}, {found.count('Soaking')} soaks" if found else "the plan never moved"
    return Finding("the plan succeeded", straight and ends, words if straight else " → ".join(found))


def recovery_was_rehearsed(evidence: Evidence) -> Finding:
    """Before any canary was ordered anything, cameras of the laboratory went back and forward, and one broke."""
    orders = evidence.history.orders
    opened = min((time_of(order.at) for order in orders if order.ring == "canary"), default=None)
    drills = [order for order in orders if order.rehearsal]
    returned = {o.device for o in drills if o.type == RETURN and answer_to(evidence, o, CONFIRMED)}
    broken = {
        order.device: answer.reason
        for order in drills
        if order.rehearsal == BREAK and (answer := answer_to(evidence, order, ROLLED_BACK)) is not None
    }
    last = {order.device: order for order in drills}
    offenders = [
        f"{device} was never installed again" for device, o in last.items() if not answer_to(evidence, o, CONFIRMED)
    ]
    offenders += [
        f"{o.device} was drilled at {o.at}, after the canaries" for o in drills if opened and time_of(o.at) > opened
    ]
    if len(returned) < DRILLED:
        offenders.append(f"{len(returned)} cameras went back, not {DRILLED}")
    if len(broken) != 1 or not all(told.startswith(FAILED_AS_TOLD) for told in broken.values()):
        offenders.append(f"one camera should have ended with {FAILED_AS_TOLD}, and there were {broken}")
    facts = (
        f"{', '.join(sorted(returned))} went back and forward; {', '.join(broken)} failed as told and fell back alone"
    )
    return all_of("recovery was rehearsed before the canaries", offenders, facts)


def only_the_model(evidence: Evidence) -> Finding:
    """Nothing but the model was ordered or changed."""
    offenders = changed_planes(evidence, ("firmware", "config"))
    offenders += [
        f"{o.device} was ordered {o.plane} {o.version}" for o in evidence.history.orders if o.plane != "model"
    ]
    return all_of("only the model changed", offenders, "firmware and config are the same bytes on every device")


def no_restart(evidence: Evidence) -> Finding:
    """Boot counts in flash stand where they stood."""
    offenders = [f"{device} booted {times} times" for device, times in rebooted(evidence).items()]
    return all_of("no firmware restarted", offenders, f"{len(evidence.after.flash)} boot counts are unchanged")


def promoted_on_accuracy(evidence: Evidence) -> Finding:
    """Each ring's last verdict is a pass, and Prometheus says so again when asked."""
    offenders, words = [], []
    for ring in ring_names(evidence):
        seen = [one for one in evidence.readings if one.signal == ACCURACY and one.ring == ring]
        if not seen:
            offenders.append(f"no accuracy was looked at in ring {ring}")
            continue
        offenders += [f"{ring}: {problem}" for problem in reading_problems(seen[-1])]
        words.append(f"{ring} {seen[-1].value}")
    return all_of("every ring passed on measured accuracy", offenders, ", ".join(words))


def reading_problems(reading: Reading) -> list[str]:
    """What speaks against a verdict that should be a pass."""
    if reading.result != "Pass" or reading.value is None or reading.value < LOWEST_ACCURACY:
        return [f"the verdict is {reading.result} at {reading.value}"]
    if reading.again is None or abs(reading.again - reading.value) > AGREEMENT:
        return [f"Prometheus says {reading.again} for what was recorded as {reading.value}"]
    return []


def accuracy_rose(evidence: Evidence) -> Finding:
    """What everyone runs at the end does better than what the last ring still ran in act 1."""
    last = [one for one in evidence.readings if one.signal == ACCURACY and one.again is not None]
    value = last[-1].again if last else None
    return Finding("the better model is better", value is not None and value > 0.95, f"accuracy over all: {value}")  # noqa: PLR2004


def duration(evidence: Evidence) -> float:
    """How long the act took, in seconds."""
    return seconds_between(evidence.before.at, evidence.after.at)


ACT_1: Final[tuple[Claim, ...]] = (
    came_from_the_factory,
    lambda evidence: everyone_runs(evidence, FIRST),
    ring_after_ring,
    one_plane_at_a_time,
    promoted_on_accuracy,
    succeeded,
)
ACT_2: Final[tuple[Claim, ...]] = (
    lambda evidence: everyone_runs(evidence, BETTER),
    recovery_was_rehearsed,
    ring_after_ring,
    only_the_model,
    no_restart,
    promoted_on_accuracy,
    accuracy_rose,
    succeeded,
)
