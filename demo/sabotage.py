"""What a test does to a demo that has just passed, to see the checker notice: at least one thing for every claim.

Most are done to the real systems, and undone; what no system lets one do afterwards, such as writing another history
into the API server's audit log, is done to the evidence.
"""

import asyncio
import json
import shutil
import struct
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp

from demo.browser import pictures
from demo.checker.audit import Order, Silence
from demo.checker.evidence import Evidence, Moment
from demo.checker.installed import PNG
from demo.checker.release_claims import FAILED_AS_TOLD
from demo.devices import FLASH
from demo.fleet import NAMESPACE
from demo.resources import HOLD
from demo.stage import Platform, Stage

Json = dict[str, Any]

MODEL_SELECTOR_AT: Final = 0xF000
OTADATA_AT: Final = 0xD000
CONFIG_AT: Final = 0x160000
CONFIG_BYTES: Final = 0x4000
UNUSED_AT: Final = 0x3F0000
SECTOR: Final = 4096
STATE_AT: Final = 24
VALID, INVALID, ABORTED = 2, 3, 4
CONDEMNED: Final = frozenset({INVALID, ABORTED})
SETTLES_SECONDS: Final = 3.0

Done = Callable[[Stage, Evidence], AbstractAsyncContextManager[None]]
"""Something done to what runs, for as long as the block lasts."""


@dataclass(frozen=True, slots=True)
class OnSystems:
    """Something done to what runs."""

    act: int
    breaks: str
    """The claim that must no longer hold."""
    done: Done


@dataclass(frozen=True, slots=True)
class OnEvidence:
    """Something that the evidence would have shown."""

    act: int
    breaks: str
    altered: Callable[[Evidence], Evidence]


def flipped(place: Callable[[Evidence], tuple[str, int]]) -> Done:
    """Flip the bits of one byte of a device's flash."""

    @asynccontextmanager
    async def done(stage: Stage, evidence: Evidence) -> AsyncIterator[None]:
        device, at = place(evidence)
        chip = stage.directory / FLASH / f"{device}.flash"
        before = read_at(chip, at, 1)
        write_at(chip, at, bytes([before[0] ^ 0xFF]))
        try:
            yield
        finally:
            write_at(chip, at, before)

    return done


def in_running_config(evidence: Evidence) -> tuple[str, int]:
    """A byte of the config that a device runs."""
    device = any_device(evidence)
    return device, CONFIG_AT + CONFIG_BYTES * evidence.after.flash[device].planes["config"].slot


def in_unused_flash(evidence: Evidence) -> tuple[str, int]:
    """A byte that means nothing, of a device that took no part."""
    return idle_device(evidence), UNUSED_AT


def switched_over(selector_at: int) -> Done:
    """Make the other slot the choice of a device that took part, as if it had never gone back."""

    @asynccontextmanager
    async def done(stage: Stage, evidence: Evidence) -> AsyncIterator[None]:
        chip = stage.directory / FLASH / f"{ordered_device(evidence)}.flash"
        before = read_at(chip, selector_at, 2 * SECTOR)
        numbers, states = zip(*(struct.unpack_from("<I20xI", before, at) for at in (0, SECTOR)), strict=True)
        chosen = max((0, 1), key=lambda entry: (states[entry] not in CONDEMNED, numbers[entry]))
        write_at(chip, selector_at + chosen * SECTOR + STATE_AT, struct.pack("<I", INVALID))
        write_at(chip, selector_at + (1 - chosen) * SECTOR + STATE_AT, struct.pack("<I", VALID))
        try:
            yield
        finally:
            write_at(chip, selector_at, before)

    return done


@asynccontextmanager
async def rebooted(stage: Stage, evidence: Evidence) -> AsyncIterator[None]:
    """Restart one device; that cannot be undone."""
    device = max(evidence.after.devices)
    order = stage.directory / FLASH / f"{device}.new"
    order.write_text('{"reboot": true}', encoding="utf-8")
    order.rename(order.with_name(f"{device}.faults.json"))
    await asyncio.sleep(SETTLES_SECONDS)
    yield


def without_hold(plane: str) -> Done:
    """Delete the hold that freezes a version."""

    @asynccontextmanager
    async def done(stage: Stage, evidence: Evidence) -> AsyncIterator[None]:
        frozen = [hold for hold in evidence.after.holds if f"frozen-{plane}" in hold["metadata"]["name"]][-1]
        name = frozen["metadata"]["name"]
        await stage.kubectl("delete", f"hold.backstay.dev/{name}", f"--namespace={NAMESPACE}")
        try:
            yield
        finally:
            again = {key: frozen[key] for key in ("apiVersion", "kind", "spec")}
            metadata = {"name": name, "namespace": NAMESPACE, "labels": frozen["metadata"].get("labels", {})}
            await stage.apply("frozen-again", {**again, "metadata": metadata})

    return done


@asynccontextmanager
async def silenced(stage: Stage, _evidence: Evidence) -> AsyncIterator[None]:
    """Silence every page."""
    now, url = datetime.now(UTC), f"{stage.sandbox.alertmanager_url}/api/v2"
    everything = [{"name": "alertname", "value": ".+", "isRegex": True, "isEqual": True}]
    silence = {
        "matchers": everything,
        "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(hours=1)).isoformat(),
        "createdBy": "a test",
        "comment": "to see whether the checker notices",
    }
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10)) as session:
        async with session.post(f"{url}/silences", json=silence) as answer:
            answer.raise_for_status()
            number = (await answer.json())["silenceID"]
        await asyncio.sleep(SETTLES_SECONDS)
        try:
            yield
        finally:
            async with session.delete(f"{url}/silence/{number}") as answer:
                answer.raise_for_status()


@asynccontextmanager
async def assigned(stage: Stage, evidence: Evidence) -> AsyncIterator[None]:
    """Assign the refused config to a device after all."""
    device = min(evidence.after.devices)
    before = evidence.after.devices[device]["spec"]["desired"]["config"]
    refused = stage.artifacts.config_needing_unknown_model
    wanted = {**before, "version": refused.version, "artifact": refused.reference, "content": refused.content}
    await _assign(stage, device, wanted)
    try:
        yield
    finally:
        await _assign(stage, device, before)


async def _assign(stage: Stage, device: str, config: Json) -> None:
    patch = json.dumps({"spec": {"desired": {"config": config}}})
    place = (f"edgedevice.backstay.dev/{device}", f"--namespace={NAMESPACE}")
    await stage.sandbox.kubectl("patch", *place, "--type=merge", f"--patch={patch}")


def read_at(file: Path, at: int, size: int) -> bytes:
    """Some bytes of a file."""
    with file.open("rb") as chip:
        chip.seek(at)
        return chip.read(size)


def write_at(file: Path, at: int, data: bytes) -> None:
    """Put bytes into a file that somebody else may have open."""
    with file.open("r+b") as chip:
        chip.seek(at)
        chip.write(data)


def any_device(evidence: Evidence) -> str:
    """One that nobody minds."""
    return max(evidence.after.devices)


def idle_device(evidence: Evidence) -> str:
    """One that took no part in the act, if there is one."""
    idle = sorted(set(evidence.after.devices) - {order.device for order in evidence.history.orders})
    return idle[0] if idle else any_device(evidence)


def ordered_device(evidence: Evidence) -> str:
    """One that took part in the act."""
    return evidence.history.orders[-1].device


def with_order(evidence: Evidence, **changes: Any) -> Evidence:
    """One more order than there was, to a device that had none."""
    device = idle_device(evidence)
    order = Order(evidence.after.at, "somebody", device, 99, "model", "Install", "1.2.0", "sha256:0", "everyone", "r-1")
    return _with_history(evidence, orders=[*evidence.history.orders, replace(order, **changes)])


def canaries_early(evidence: Evidence) -> Evidence:
    """The canaries' orders, as if they had been given at the very beginning."""
    orders = [replace(o, at=evidence.before.at) if o.ring == "canary" else o for o in evidence.history.orders]
    return _with_history(evidence, orders=orders)


def backwards(evidence: Evidence) -> Evidence:
    """The same orders in the opposite order."""
    return _with_history(evidence, orders=evidence.history.orders[::-1])


def unanswered(evidence: Evidence) -> Evidence:
    """No device has answered anything."""
    return _with_history(evidence, answers=[])


def never_broken(evidence: Evidence) -> Evidence:
    """The camera that was told to fail confirmed instead."""
    answers = [
        replace(answer, state="Confirmed") if answer.reason.startswith(FAILED_AS_TOLD) else answer
        for answer in evidence.history.answers
    ]
    return _with_history(evidence, answers=answers)


def silent(evidence: Evidence) -> Evidence:
    """A device that took part was not reachable for a while."""
    return _with_history(evidence, silences=[Silence(evidence.after.at, ordered_device(evidence))])


def other_way(*phases: str) -> Callable[[Evidence], Evidence]:
    """The plan went through other phases."""

    def altered(evidence: Evidence) -> Evidence:
        last = evidence.history.plan[-1]
        return _with_history(evidence, plan=[replace(last, phase=phase) for phase in phases])

    return altered


def readings(**changes: Any) -> Callable[[Evidence], Evidence]:
    """Every verdict was another one."""
    return lambda evidence: replace(evidence, readings=[replace(one, **changes) for one in evidence.readings])


def good_accuracy(evidence: Evidence) -> Evidence:
    """Prometheus never saw a bad value."""
    return replace(evidence, accuracy=dict.fromkeys(evidence.accuracy, 0.97))


def half_unseen(evidence: Evidence) -> Evidence:
    """Prometheus saw only half of the fleet with the release."""
    return replace(evidence, running={versions: count // 2 for versions, count in evidence.running.items()})


def old_flash(evidence: Evidence) -> Evidence:
    """The devices had the release before the act already."""
    return replace(evidence, before=replace(evidence.before, flash=evidence.after.flash))


def unreachable(evidence: Evidence) -> Evidence:
    """A device is gone at the end."""
    device = any_device(evidence)
    found = evidence.after.devices[device]
    gone = {**found, "status": {**found["status"], "conditions": []}}
    return _with_after(evidence, devices={**evidence.after.devices, device: gone})


def unnamed(evidence: Evidence) -> Evidence:
    """The refusal says no more than that it is one."""
    status = {**evidence.after.plan["status"], "conditions": [{"type": "Ready", "message": "refused"}]}
    return _with_after(evidence, plan={**evidence.after.plan, "status": status})


def restarted(evidence: Evidence) -> Evidence:
    """A device has booted once more."""
    device = any_device(evidence)
    found = evidence.after.flash[device]
    return _with_after(evidence, flash={**evidence.after.flash, device: replace(found, boots=found.boots + 1)})


def never_held(evidence: Evidence) -> Evidence:
    """Nobody had made a hold."""
    return replace(evidence, between=replace(_between(evidence), holds=[]))


def started_there(evidence: Evidence) -> Evidence:
    """A held device was ordered the config a little after the hold was made."""
    made = next(write for write in evidence.history.holds if write.name == HOLD)
    at = (datetime.fromisoformat(made.at) + timedelta(seconds=2)).isoformat()
    held = [
        name
        for name, found in evidence.after.devices.items()
        if found["metadata"]["labels"].get("customer") == "borealis"
    ]
    return with_order(evidence, at=at, device=held[0], plane="config")


def touched_while_held(evidence: Evidence) -> Evidence:
    """The flash of every device had changed while the hold stood."""
    between = _between(evidence)
    flash = {device: replace(found, sha256="0" * 64) for device, found in between.flash.items()}
    return replace(evidence, between=replace(between, flash=flash))


def others_waited_too(evidence: Evidence) -> Evidence:
    """While the hold stood, nobody else had got anything either."""
    return replace(evidence, between=replace(_between(evidence), flash=evidence.before.flash))


def never_followed(evidence: Evidence) -> Evidence:
    """After the hold nobody was ordered anything."""
    lifted = next(write for write in evidence.history.holds if write.verb == "delete")
    orders = [o for o in evidence.history.orders if datetime.fromisoformat(o.at) < datetime.fromisoformat(lifted.at)]
    return _with_history(evidence, orders=orders)


@asynccontextmanager
async def switched_over_on_disk(stage: Stage, evidence: Evidence) -> AsyncIterator[None]:
    """Let a box use the wrong model after all."""
    del evidence
    models = stage.boxes[0].data / "model"
    before = (models / "current").readlink()
    # Made here: the agent may have deleted what the box had tried.
    wrong = models / "generations" / "sabotage"
    shutil.copytree((models / "current" / "current").resolve(), wrong / "current")
    note = wrong / "current" / "release.json"
    note.chmod(0o644)
    note.write_text(json.dumps({**json.loads(note.read_bytes()), "version": "3.1.0"}))
    _point(models / "current", wrong.relative_to(models))
    try:
        yield
    finally:
        _point(models / "current", before)
        shutil.rmtree(wrong)


def _point(link: Path, target: Path) -> None:
    """As the store does it: one rename."""
    new = link.with_name("sabotage")
    new.symlink_to(target)
    new.rename(link)


def never_stopped(evidence: Evidence) -> Evidence:
    """The API server was at work all the time."""
    return replace(evidence, between=replace(_between(evidence), server="S"))


def back_afterwards(evidence: Evidence) -> Evidence:
    """While the API server was stopped, the boxes still had the wrong model."""
    between = _between(evidence)
    boxes = {name: replace(found, serves=["3.1.0"]) for name, found in between.boxes.items()}
    return replace(evidence, between=replace(between, boxes=boxes))


def told_afterwards(evidence: Evidence) -> Evidence:
    """While the API server was stopped, the journals did not say yet that the boxes were back."""
    between = _between(evidence)
    boxes = {name: replace(found, journal=[]) for name, found in between.boxes.items()}
    return replace(evidence, between=replace(between, boxes=boxes))


def another_reason(evidence: Evidence) -> Evidence:
    """What failed was not the replay."""
    answers = [replace(one, reason="ProbeFailed: served") for one in evidence.history.answers]
    return _with_history(evidence, answers=answers)


def _between(evidence: Evidence) -> Moment:
    if evidence.between is None:
        message = "the act has no moment in between"
        raise ValueError(message)
    return evidence.between


def _with_history(evidence: Evidence, **changes: Any) -> Evidence:
    return replace(evidence, history=replace(evidence.history, **changes))


def _with_after(evidence: Evidence, **changes: Any) -> Evidence:
    return replace(evidence, after=replace(evidence.after, **changes))


@asynccontextmanager
async def uncommitted(stage: Stage, _evidence: Evidence) -> AsyncIterator[None]:
    """Let the newest commit that was pushed be the one before."""
    git = _platform(stage).git
    newest = await git.head()
    await git.move(f"{newest}~1")
    try:
        yield
    finally:
        await git.move(newest)


@asynccontextmanager
async def painted_over(stage: Stage, _evidence: Evidence) -> AsyncIterator[None]:
    """Paint one picture white, and leave its size."""
    file = pictures(stage.directory)["succeeded"]
    before = file.read_bytes()
    file.write_bytes(_white(*struct.unpack_from(">II", before, 16)))
    try:
        yield
    finally:
        file.write_bytes(before)


def _white(width: int, height: int) -> bytes:
    """A picture with nothing on it, as a browser would keep it: three bytes a pixel, and no filter."""
    row = b"\x00" + b"\xff" * (3 * width)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(row * height)),
        (b"IEND", b""),
    )
    return PNG + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def _platform(stage: Stage) -> Platform:
    if stage.platform is None:
        message = "nothing was installed"
        raise ValueError(message)
    return stage.platform


def installed_otherwise(**changes: Any) -> Callable[[Evidence], Evidence]:
    """Another thing was installed, or shown."""

    def altered(evidence: Evidence) -> Evidence:
        if evidence.installed is None:
            message = "nothing was installed"
            raise ValueError(message)
        return replace(evidence, installed=replace(evidence.installed, **changes))

    return altered


def ordered_by_a_process(evidence: Evidence) -> Evidence:
    """The last order came from nobody's Pod."""
    *others, last = evidence.history.orders
    return _with_history(evidence, orders=[*others, replace(last, pod="")])


_PASS_TO_FAIL: Final = readings(result="Fail", value=0.1)

ON_SYSTEMS: Final = (
    OnSystems(1, "every device runs the release", flipped(in_running_config)),
    OnSystems(2, "every device runs the release", flipped(in_running_config)),
    OnSystems(2, "no firmware restarted", rebooted),
    OnSystems(3, "model 1.2.0 is frozen by digest", without_hold("model")),
    OnSystems(3, "a person is paged", silenced),
    OnSystems(3, "nothing beyond ring canary was touched", flipped(in_unused_flash)),
    OnSystems(3, "every device is back", switched_over(MODEL_SELECTOR_AT)),
    OnSystems(4, "every device is back", switched_over(OTADATA_AT)),
    OnSystems(4, "devices fell back by themselves", switched_over(OTADATA_AT)),
    OnSystems(4, "firmware 2.0.0 is frozen by digest", without_hold("firmware")),
    OnSystems(4, "a person is paged", silenced),
    OnSystems(4, "nothing beyond ring internal was touched", flipped(in_unused_flash)),
    OnSystems(5, "nothing was ordered", assigned),
    OnSystems(5, "nothing shipped", flipped(in_unused_flash)),
    OnSystems(6, "every device runs the release", flipped(in_running_config)),
    OnSystems(7, "every box serves the model from before", switched_over_on_disk),
    OnSystems(7, "model 3.1.0 is frozen by digest", without_hold("model")),
    OnSystems(7, "a person is paged", silenced),
    OnSystems(7, "no camera was touched", flipped(in_unused_flash)),
    OnSystems(8, "the plan is the one in Git", uncommitted),
    OnSystems(8, "every device runs the release", flipped(in_running_config)),
    OnSystems(8, "a browser drew it", painted_over),
)
ON_EVIDENCE: Final = (
    OnEvidence(1, "every device runs the release", half_unseen),
    OnEvidence(1, "devices come from the factory with 0.9.0", old_flash),
    OnEvidence(1, "each ring waited for the one before", canaries_early),
    OnEvidence(1, "no incompatible set, not for a moment", backwards),
    OnEvidence(1, "every ring passed on measured accuracy", _PASS_TO_FAIL),
    OnEvidence(1, "the plan succeeded", other_way("Rolling", "RollingBack", "RolledBack")),
    OnEvidence(2, "recovery was rehearsed before the canaries", never_broken),
    OnEvidence(2, "each ring waited for the one before", unanswered),
    OnEvidence(2, "only the model changed", lambda evidence: with_order(evidence, plane="config")),
    OnEvidence(2, "every ring passed on measured accuracy", readings(again=None)),
    OnEvidence(2, "the better model is better", readings(again=0.9)),
    OnEvidence(2, "the plan succeeded", other_way("Rolling", "Halted")),
    OnEvidence(3, "devices stayed online and confirmed", silent),
    OnEvidence(3, "accuracy fell where the model ran", good_accuracy),
    OnEvidence(3, "the canary gate failed on the signal", readings(ring="internal")),
    OnEvidence(3, "the plan ended RolledBack", other_way("RollingBack", "Verifying", "Unresolved")),
    OnEvidence(3, "only the model went back", lambda evidence: with_order(evidence, plane="firmware")),
    OnEvidence(3, "nothing beyond ring canary was touched", lambda evidence: with_order(evidence, ring="tenth")),
    OnEvidence(4, "the plan ended RolledBack", other_way("Halted")),
    OnEvidence(4, "every device is online", unreachable),
    OnEvidence(5, "the requirement is named", unnamed),
    OnEvidence(6, "a person's hold stood", never_held),
    OnEvidence(6, "nothing started there", started_there),
    OnEvidence(6, "held devices were not touched", touched_while_held),
    OnEvidence(6, "the others went on", others_waited_too),
    OnEvidence(6, "lifted, they caught up", never_followed),
    OnEvidence(6, "no firmware restarted", restarted),
    OnEvidence(6, "the plan succeeded", other_way("Rolling")),
    OnEvidence(7, "replaying golden samples found it", another_reason),
    OnEvidence(7, "they went back with no API server", never_stopped),
    OnEvidence(7, "they went back with no API server", back_afterwards),
    OnEvidence(7, "they went back with no API server", told_afterwards),
    OnEvidence(7, "the plan ended RolledBack", other_way("Rolling", "RollingBack", "Unresolved")),
    OnEvidence(7, "no camera was touched", with_order),
    OnEvidence(8, "helm installed the operator", installed_otherwise(image="sha256:0")),
    OnEvidence(8, "helm installed the operator", installed_otherwise(deployment={})),
    OnEvidence(8, "a Pod leads, and gave every order", installed_otherwise(holder="a-machine-42")),
    OnEvidence(8, "a Pod leads, and gave every order", ordered_by_a_process),
    OnEvidence(8, "the plan is the one in Git", installed_otherwise(committed={"spec": {"paused": True}})),
    OnEvidence(8, "the plan is the one in Git", installed_otherwise(committed={})),
    OnEvidence(8, "each ring waited for the one before", canaries_early),
    OnEvidence(8, "no firmware restarted", restarted),
    OnEvidence(8, "every ring passed on measured accuracy", _PASS_TO_FAIL),
    OnEvidence(8, "the plan succeeded", other_way("Rolling")),
    OnEvidence(8, "the page shows what the API server has", installed_otherwise(shown={"internal": "3/3"})),
)
