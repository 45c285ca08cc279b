"""Acts 3 and 4: a model that is wrong although it runs, and a firmware that hangs."""

from typing import Final

from demo.checker.evidence import Evidence
from demo.checker.finding import (
    CONFIRMED,
    Claim,
    Finding,
    all_of,
    answer_to,
    changed_flash,
    changed_planes,
    orders_of,
    phases,
    rebooted,
    ring_names,
    seconds_between,
    time_of,
    wrong_versions,
)
from demo.checker.release_claims import ACCURACY, BETTER, LOWEST_ACCURACY

MISQUANTISED: Final = "1.2.0"
HANGING: Final = "2.0.0"
ENDED_BY_BOOTLOADER: Final = "Aborted"
"""The state that the bootloader gives to an image on trial which did not confirm before a reset."""


def installed_and_confirmed(evidence: Evidence) -> Finding:
    """The bad model passed every check on the devices: they stayed online and confirmed."""
    orders = orders_of(evidence, "model", MISQUANTISED)
    offenders = [f"{o.device} did not confirm it" for o in orders if not answer_to(evidence, o, CONFIRMED)]
    devices = {order.device for order in orders}
    offenders += [f"{silence.device} went silent" for silence in evidence.history.silences if silence.device in devices]
    if not orders:
        offenders.append("no device was ordered it")
    return all_of("devices stayed online and confirmed", offenders, f"{len(devices)} devices confirmed the bad model")


def canary_gate_failed(evidence: Evidence) -> Finding:
    """The accuracy of the canary ring failed, by the operator's record and by Prometheus asked again."""
    failed = [one for one in evidence.readings if one.signal == ACCURACY and one.result == "Fail"]
    offenders = [f"the gate of ring {one.ring} failed" for one in failed if one.ring != "canary"]
    if not failed:
        offenders.append("no verdict on accuracy failed")
    offenders += [
        f"{one.value} recorded and {one.again} in Prometheus is no failure"
        for one in failed
        if one.value is None or one.again is None or max(one.value, one.again) >= LOWEST_ACCURACY
    ]
    words = ", ".join(f"{one.value}" for one in failed)
    return all_of("the canary gate failed on the signal", offenders, f"accuracy in ring canary: {words}")


def accuracy_fell(evidence: Evidence) -> Finding:
    """Prometheus saw the accuracy of the canaries fall, and of nobody who lacked the model."""
    had_it = {order.device: order.ring for order in orders_of(evidence, "model", MISQUANTISED)}
    canaries = [device for device, ring in had_it.items() if ring == "canary"]
    low = {device for device, lowest in evidence.accuracy.items() if lowest < LOWEST_ACCURACY / 2}
    offenders = [f"{device} never fell below {LOWEST_ACCURACY / 2}" for device in set(canaries) - low]
    offenders += [f"{device} fell to {evidence.accuracy[device]} without it" for device in low - set(had_it)]
    if not canaries:
        offenders.append("no canary had it")
    words = ", ".join(f"{device} {evidence.accuracy.get(device, 1):.2f}" for device in sorted(canaries))
    return all_of("accuracy fell where the model ran", offenders, words)


def everything_as_before(evidence: Evidence) -> Finding:
    """Every device runs again what it ran before the act."""
    devices = sorted(evidence.after.flash)
    offenders = wrong_versions(evidence, evidence.after, BETTER, devices)
    offenders += changed_planes(evidence, BETTER)
    return all_of("every device is back", offenders, f"{len(devices)} devices run what they ran before")


def nothing_but_the_model(evidence: Evidence) -> Finding:
    """No other plane was ordered to change, and nobody restarted."""
    offenders = [f"{o.device} was ordered {o.plane} {o.version}" for o in evidence.history.orders if o.plane != "model"]
    offenders += [f"{device} booted {times} times" for device, times in rebooted(evidence).items()]
    return all_of("only the model went back", offenders, "no order in another plane, no restart")


def later_rings_untouched(evidence: Evidence, last: str) -> Finding:
    """Beyond a ring, nobody was ordered anything and not one byte of flash changed."""
    names = ring_names(evidence)
    allowed = set(names[: names.index(last) + 1]) if last in names else set()
    offenders = [
        f"{o.device} of ring {o.ring} was ordered {o.plane}" for o in evidence.history.orders if o.ring not in allowed
    ]
    touched = {order.device for order in evidence.history.orders}
    untouched = sorted(set(evidence.after.flash) - touched)
    offenders += changed_flash(evidence, untouched)
    facts = f"{len(untouched)} devices were ordered nothing, and not one byte of their flash changed"
    return all_of(f"nothing beyond ring {last} was touched", offenders, facts)


def frozen(evidence: Evidence, plane: str, version: str) -> Finding:
    """A hold stops the version by the digest of its content, everywhere and for ever."""
    wanted = {"plane": plane, "digest": evidence.contents[plane][version]}
    holds = [
        hold["metadata"]["name"]
        for hold in evidence.after.holds
        if wanted in hold["spec"].get("versions", ())
        and not hold["spec"].get("until")
        and not hold["spec"].get("scope")
        and not hold["metadata"].get("ownerReferences")
    ]
    claim = f"{plane} {version} is frozen by digest"
    return Finding(claim, bool(holds), ", ".join(holds) or f"no hold names {wanted['digest'][:19]}")


def paged(evidence: Evidence, plane: str) -> Finding:
    """Alertmanager shows a page that nobody has silenced."""
    active = [
        alert
        for alert in evidence.after.alerts
        if alert["labels"].get("plan") == evidence.after.plan.get("metadata", {}).get("name")
        and alert["status"]["state"] == "active"
    ]
    told = [alert["labels"]["alertname"] for alert in active if plane in json_words(alert)]
    return Finding("a person is paged", bool(told), ", ".join(told) or f"Alertmanager shows no page about the {plane}")


def json_words(alert: dict[str, dict[str, str]]) -> str:
    """All that an alert says."""
    return " ".join((*alert["labels"].values(), *alert["annotations"].values()))


def rolled_back(evidence: Evidence) -> Finding:
    """The plan went back and says so."""
    found = phases(evidence)
    way = [phase for phase in found if phase in ("RollingBack", "Verifying", "RolledBack", "Unresolved", "Halted")]
    is_right = way == ["RollingBack", "Verifying", "RolledBack"] and found[-1:] == ["RolledBack"]
    culprit = evidence.after.plan.get("status", {}).get("culprit", {})
    words = f"{' → '.join(found)}; culprit {culprit.get('plane')} {culprit.get('version')}"
    return Finding("the plan ended RolledBack", is_right, words)


def fell_back_by_themselves(evidence: Evidence) -> Finding:
    """The bootloader ended the trial: its mark stands in flash, beside the firmware that it went back to."""
    orders = orders_of(evidence, "firmware", HANGING)
    devices = {order.device for order in orders}
    content = evidence.contents["firmware"][HANGING]
    offenders, answered = [], 0
    for device in devices:
        spare = evidence.after.flash[device].planes["firmware"].spare
        if (spare.content, spare.state) != (content, ENDED_BY_BOOTLOADER):
            offenders.append(f"in {device} the other slot holds {spare.version or 'nothing'} and is {spare.state}")
        if rebooted(evidence).get(device, 0) < 2:  # noqa: PLR2004 - into the new firmware, and out of it
            offenders.append(f"{device} booted {rebooted(evidence).get(device, 0)} times")
    for order in orders:
        answer = answer_to(evidence, order, "RolledBack")
        answered += answer is not None and "Watchdog" in answer.reason
    if not answered:
        offenders.append("no device reported that its watchdog bit")
    facts = f"{len(devices)} devices hung, {answered} reported Watchdog; their bootloaders aborted the trial"
    return all_of("devices fell back by themselves", offenders, facts)


def all_reachable(evidence: Evidence) -> Finding:
    """At the end of the act every device is reachable."""
    offenders = [
        f"{name} is not reachable"
        for name, device in evidence.after.devices.items()
        if not any(
            condition["type"] == "Reachable" and condition["status"] == "True"
            for condition in device.get("status", {}).get("conditions", ())
        )
    ]
    return all_of("every device is online", offenders, f"{len(evidence.after.devices)} devices are reachable")


def seconds_to_recover(evidence: Evidence) -> float | None:
    """From the first bad sign, a failed verdict or a device that fell back, to the last device that was back."""
    bad = {
        evidence.contents["model"][MISQUANTISED],
        evidence.contents["firmware"][HANGING],
    }
    signs = [one.at for one in evidence.readings if one.result == "Fail"]
    signs += [answer.at for answer in evidence.history.answers if answer.state in ("RolledBack", "Failed")]
    steps = {(order.device, order.plane) for order in evidence.history.orders if order.content in bad}
    back = [
        answer.at
        for answer in evidence.history.answers
        if (answer.device, answer.plane) in steps
        and answer.running not in bad
        and answer.state in ("RolledBack", CONFIRMED)
    ]
    if not signs or not back:
        return None
    return seconds_between(min(signs, key=time_of), max(back, key=time_of))


ACT_3: Final[tuple[Claim, ...]] = (
    installed_and_confirmed,
    accuracy_fell,
    canary_gate_failed,
    rolled_back,
    everything_as_before,
    nothing_but_the_model,
    lambda evidence: frozen(evidence, "model", MISQUANTISED),
    lambda evidence: paged(evidence, "model"),
    lambda evidence: later_rings_untouched(evidence, "canary"),
)
ACT_4: Final[tuple[Claim, ...]] = (
    fell_back_by_themselves,
    rolled_back,
    everything_as_before,
    all_reachable,
    lambda evidence: frozen(evidence, "firmware", HANGING),
    lambda evidence: paged(evidence, "firmware"),
    lambda evidence: later_rings_untouched(evidence, "internal"),
)
