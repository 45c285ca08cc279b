"""RAUC's own service installs, and the power goes between any two of its steps; the bootloader's variables decide."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from dbus_fast import Message
from dbus_fast.aio import MessageBus

from backstay.adapters.node.boot_counters import GrubCounters, UBootCounters
from backstay.adapters.node.dbus import conversation
from backstay.adapters.node.rauc import RaucInstaller
from backstay.adapters.node.rauc_service import RAUC, RaucService
from backstay.core.device import Reason
from backstay.core.planes import Plane
from backstay.errors import Unavailable
from backstay.ports.installer import CannotInstall, Effect
from tests.contracts.grub_node import GrubNode
from tests.contracts.installers import Delivery
from tests.contracts.rauc_node import ATTEMPTS, RaucNode, Signer, make_bundle


@pytest.fixture
async def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RaucNode]:
    made = RaucNode(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    try:
        await made.begin()
        yield made
    finally:
        await made.end()


@pytest.fixture
async def grub_node(tmp_path: Path) -> AsyncIterator[GrubNode]:
    made = GrubNode(tmp_path)
    try:
        await made.begin()
        yield made
    finally:
        await made.end()


def installer_of(node: RaucNode) -> RaucInstaller:
    assert isinstance(node.installer, RaucInstaller)
    return node.installer


async def staged(node: RaucNode, version: str = "2.0.0", number: int = 2) -> Delivery:
    one = node.deliver(version, number)
    await node.installer.stage(one.order, one.artifact, one.payload)
    return one


async def on_trial(node: RaucNode, version: str = "2.0.0", number: int = 2) -> Delivery:
    one = await staged(node, version, number)
    await node.take_effect(await node.installer.switch(one.order))
    return one


class Saboteur:
    """Stands in the place of `fw_setenv`, and cuts the power before or after its n-th call, or does nothing at all."""

    def __init__(self, node: RaucNode) -> None:
        self.tool = node.root / "bin" / "fw_setenv"
        self.real = self.tool.read_text(encoding="utf-8")
        self.count = node.root / "calls"

    def cut(self, number: int, *, after: bool) -> None:
        """Kill whoever calls it, at its n-th call."""
        call = self.real.splitlines()[1].removeprefix("exec ")
        kill = f'if [ "$(wc -l < {self.count})" -eq {number} ]; then kill -KILL $PPID; exit 1; fi'
        body = (call, kill) if after else (kill, call)
        self._become("\n".join((f"echo >> {self.count}", *body)))

    def lie(self) -> None:
        """Say that it was done."""
        self._become("exit 0")

    def leave(self) -> None:
        self.tool.write_text(self.real, encoding="utf-8")

    def _become(self, body: str) -> None:
        self.count.unlink(missing_ok=True)
        self.tool.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")


async def is_done(node: RaucNode, method: str, one: Delivery) -> bool:
    """Carry a method out; False where RAUC died over it."""
    try:
        match method:
            case "switch":
                await node.installer.switch(one.order)
            case "confirm":
                await node.installer.confirm(one.order)
            case _:
                await node.installer.fall_back()
    except (Unavailable, CannotInstall):
        return False
    return True


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("method", ["switch", "confirm", "fall_back"])
@pytest.mark.timeout(300)
async def test_node_runs_one_of_two_versions_when_the_power_goes_at_a_write_of_the_bootloaders_variables(
    node: RaucNode, method: str, after: bool
) -> None:
    one = await (staged if method == "switch" else on_trial)(node)
    await node.save()
    saboteur, number = Saboteur(node), 1
    while True:
        saboteur.cut(number, after=after)
        done = await is_done(node, method, one)
        saboteur.leave()
        if done:
            break
        await node.power_cut()
        found = await node.installer.look()
        assert found.running is not None
        assert found.running.version == node.truth() in {"1.0.0", "2.0.0"}
        assert found.ended is None
        if node.truth() == "2.0.0":
            assert found.on_trial in {2, None}
            assert found.fallback == node.first
            await node.take_effect(await node.installer.fall_back())
        assert (await node.installer.look()).running == node.first
        assert node.truth() == "1.0.0"
        await node.restore()
        number += 1
    assert number >= {"switch": 4, "confirm": 1, "fall_back": 4}[method], "RAUC wrote less often than it should"


@pytest.mark.timeout(300)
async def test_node_runs_what_it_ran_and_installs_again_when_the_power_goes_at_any_step_of_an_install(
    node: RaucNode,
) -> None:
    two = await staged(node)
    await node.save()
    number, seen = 1, []
    while (operation := await cut_at_progress(node, two, number)) is not None:
        seen.append(operation)
        await node.power_cut()
        found = await node.installer.look()
        assert found.running is not None
        assert found.running.version == node.truth()
        assert two.order.content in found.held | {found.running.content}
        if found.on_trial is None:
            assert found.running == node.first
            await node.take_effect(await node.installer.switch(two.order))
        assert (await node.installer.look()).running == two.release
        assert node.truth() == "2.0.0"
        await node.restore()
        number += 1
    assert any("Copying image" in one for one in seen), seen
    assert any("Verifying signature" in one for one in seen), seen


async def cut_at_progress(node: RaucNode, one: Delivery, number: int) -> str | None:
    """Kill RAUC when it tells of its progress for the n-th time; its words, or None if it tells less often."""
    told: list[str] = []

    def take(message: Message) -> None:
        if message.member == "PropertiesChanged" and "Progress" in message.body[1]:
            told.append(str(message.body[1]["Progress"].value[1]))
            if len(told) == number and node.service is not None:
                node.service.send_signal(signal.SIGKILL)

    bus = await MessageBus(bus_address=node.settings["address"]).connect()
    bus.add_message_handler(take)
    rule = f"type='signal',sender='{RAUC.name}',member='PropertiesChanged'"
    name, path = "org.freedesktop.DBus", "/org/freedesktop/DBus"
    await bus.call(Message(name, path, name, "AddMatch", signature="s", body=[rule]))
    await is_done(node, "switch", one)
    bus.disconnect()
    return told[number - 1] if len(told) >= number else None


async def test_installer_tells_that_the_trial_ended_when_the_bootloader_gave_up(node: RaucNode) -> None:
    two = await staged(node)
    await node.installer.switch(two.order)
    await node.kill_service()
    for _ in range(ATTEMPTS):
        assert node.boots() == "B", "and it does not come up"
    node.booted = node.boots()
    await node.start_service()
    found = await node.installer.look()
    assert (found.running, found.on_trial, found.ended) == (node.first, None, 2)
    assert found.fallback is None
    assert two.order.content in found.held
    await node.take_effect(await node.installer.switch(replace(two.order, number=3)))
    found = await node.installer.look()
    assert (found.running, found.on_trial, found.ended) == (two.release, 3, None)


async def test_installer_does_not_say_that_the_bootloader_ended_a_trial_that_it_left_itself(node: RaucNode) -> None:
    await on_trial(node)
    await node.take_effect(await node.installer.fall_back())
    assert (await node.installer.look()).ended is None


async def test_trial_goes_on_when_the_mark_that_confirms_is_a_lie(node: RaucNode) -> None:
    two = await on_trial(node)
    saboteur = Saboteur(node)
    saboteur.lie()
    with pytest.raises(Unavailable, match="own variables do not say so"):
        await node.installer.confirm(two.order)
    assert (await node.installer.look()).on_trial == 2
    saboteur.leave()
    await node.installer.confirm(two.order)
    assert (await node.installer.look()).on_trial is None
    assert node.variable("BOOT_B_LEFT") == str(ATTEMPTS)


async def test_fallback_is_not_believed_when_the_bootloader_would_boot_something_else(node: RaucNode) -> None:
    await on_trial(node)
    Saboteur(node).lie()
    with pytest.raises(Unavailable, match="would boot next"):
        await node.installer.fall_back()
    assert (await node.installer.look()).on_trial == 2


async def test_bundle_is_refused_when_no_key_of_the_node_signed_it(node: RaucNode, tmp_path: Path) -> None:
    two, forged = node.deliver("2.0.0", 2), tmp_path / "forged.raucb"
    make_bundle(forged, "2.0.0", Signer.make(tmp_path, "stranger"))
    with pytest.raises(CannotInstall, match="signature") as refusal:
        await node.installer.stage(two.order, two.artifact, forged)
    assert refusal.value.cause.reason is Reason.REJECTED
    assert two.order.content not in (await node.installer.look()).held


async def test_bundle_is_refused_when_it_is_for_other_nodes(node: RaucNode, tmp_path: Path) -> None:
    two, other = node.deliver("2.0.0", 2), tmp_path / "other.raucb"
    make_bundle(other, "2.0.0", node.signer, compatible="another-board")
    with pytest.raises(CannotInstall, match="'another-board', and this node takes") as refusal:
        await node.installer.stage(two.order, two.artifact, other)
    assert refusal.value.cause.reason is Reason.REJECTED


async def test_bundle_is_refused_when_its_bytes_changed_after_it_was_staged(node: RaucNode) -> None:
    two = await staged(node)
    (kept,) = (node.disk / "state" / "bundles").glob("?" * 64)
    kept.write_bytes(kept.read_bytes()[:-1] + b"?")
    with pytest.raises(CannotInstall) as refusal:
        await node.installer.switch(two.order)
    assert refusal.value.cause.reason is Reason.DIGEST_MISMATCH
    assert node.variable("BOOT_ORDER") == "A"


async def test_node_runs_what_it_ran_when_the_other_slot_cannot_be_written(node: RaucNode) -> None:
    two = await staged(node)
    (node.disk / "slot-b.img").unlink()
    with pytest.raises(CannotInstall, match="RAUC: "):
        await node.installer.switch(two.order)
    found = await node.installer.look()
    assert (found.running, found.fallback, found.ended) == (node.first, None, None)
    await node.reboot()
    assert node.truth() == "1.0.0"


async def test_bundle_is_refused_when_the_node_has_no_slot_for_an_image_in_it(node: RaucNode, tmp_path: Path) -> None:
    path = tmp_path / "2.0.0.raucb"
    make_bundle(path, "2.0.0", node.signer, slot_class="appfs")
    two = node.deliver("2.0.0", 2)
    with pytest.raises(CannotInstall, match="images for appfs"):
        await node.installer.stage(two.order, two.artifact, two.payload)


async def test_installer_objects_when_the_node_has_no_second_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = RaucNode(tmp_path, slots=("A",))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    try:
        await node.begin()
        two = node.deliver("2.0.0", 2)
        cause = await node.installer.objection(two.order, two.artifact)
        assert cause is not None
        assert cause.reason is Reason.REJECTED
        assert "two groups of slots" in cause.detail
    finally:
        await node.end()


async def test_installer_cannot_be_asked_when_rauc_is_not_there(node: RaucNode) -> None:
    await node.kill_service()
    with pytest.raises(Unavailable, match="start the service"):
        await node.installer.look()
    with pytest.raises(Unavailable, match="bus"):
        await RaucService(f"unix:path={node.root / 'nowhere'}").slots()


async def test_switch_undoes_itself_at_once_when_the_node_falls_back_before_it_was_rebooted(node: RaucNode) -> None:
    two = await staged(node)
    await node.installer.switch(two.order)
    assert await node.installer.fall_back() is Effect.AT_ONCE
    await node.reboot()
    found = await node.installer.look()
    assert (found.running, found.on_trial, found.ended) == (node.first, None, None)


async def test_confirmed_system_goes_on_booting_when_it_is_renewed_after_each_boot(node: RaucNode) -> None:
    two = await on_trial(node)
    await node.installer.confirm(two.order)
    for _ in range(ATTEMPTS + 2):
        await node.reboot()
    assert (await node.installer.look()).running == two.release


async def test_system_on_trial_is_not_renewed(node: RaucNode) -> None:
    await on_trial(node)
    await installer_of(node).renew()
    assert node.variable("BOOT_B_LEFT") == str(ATTEMPTS - 1)


async def test_system_is_known_by_its_images_when_the_record_is_lost(node: RaucNode) -> None:
    two = await on_trial(node)
    await node.installer.confirm(two.order)
    (node.disk / "state" / "slots.json").write_bytes(b"{")
    found = await node.installer.look()
    assert found.running is not None
    assert found.running.version == "2.0.0", "as the bundle in the slot says"
    assert found.running.content != two.order.content, "that it came from this very artifact nobody knows any more"
    assert found.fallback == node.first
    await node.take_effect(await node.installer.fall_back())
    assert node.truth() == "1.0.0"


async def test_record_is_not_believed_when_somebody_else_installed_since(node: RaucNode) -> None:
    await on_trial(node)
    await node.take_effect(await node.installer.fall_back())
    three = node.deliver("3.0.0", 3)
    await RaucService(node.settings["address"]).install(three.payload, timedelta(seconds=30))
    await node.reboot()
    found = await node.installer.look()
    assert found.running is not None
    assert (found.running.version, node.truth(), found.on_trial) == ("3.0.0", "3.0.0", None)


async def test_switch_waits_when_an_install_of_an_earlier_process_goes_on(node: RaucNode) -> None:
    two = await staged(node)
    first = asyncio.create_task(node.installer.switch(two.order))
    while "installing" not in await operation_of(node):
        await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await node.take_effect(await node.installer.switch(two.order))
    found = await node.installer.look()
    assert (found.running, found.on_trial) == (two.release, 2)


async def operation_of(node: RaucNode) -> str:
    async with conversation(RAUC, node.settings["address"]) as rauc:
        return str(await rauc.property("Operation"))


async def test_counter_cannot_be_read_when_it_is_no_number(node: RaucNode) -> None:
    node.set_variable("BOOT_A_LEFT", "many")
    with pytest.raises(Unavailable, match="BOOT_A_LEFT"):
        await UBootCounters().is_full("A")
    with pytest.raises(Unavailable, match="BOOT_C_LEFT"):
        await UBootCounters().is_full("C")


async def test_factory_image_is_nothing_known_when_nobody_said_what_it_is(node: RaucNode) -> None:
    plain = RaucInstaller(
        node.disk / "state",
        Plane.FIRMWARE,
        UBootCounters(),
        configuration=node.configuration,
        address=node.settings["address"],
    )
    assert (await plain.look()).running is None


@pytest.fixture
async def rescuable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RaucNode]:
    """A node with a recovery system beside its two slots."""
    made = RaucNode(tmp_path, slots=("A", "B", "R"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    try:
        await made.begin()
        yield made
    finally:
        await made.end()


async def test_recovery_slot_is_never_written_and_stands_in_nobodys_way(rescuable: RaucNode) -> None:
    recovery = (rescuable.disk / "rescue.img").read_bytes()
    for version, number in (("2.0.0", 2), ("3.0.0", 3)):
        one = await on_trial(rescuable, version, number)
        await rescuable.installer.confirm(one.order)
        assert rescuable.truth() == version
    assert (rescuable.disk / "rescue.img").read_bytes() == recovery
    found = await rescuable.installer.look()
    assert (found.running and found.running.version, found.fallback and found.fallback.version) == ("3.0.0", "2.0.0")


async def test_node_boots_its_recovery_system_and_then_what_ran_before(rescuable: RaucNode) -> None:
    one = await on_trial(rescuable)
    await rescuable.installer.confirm(one.order)
    before = await rescuable.installer.look()
    assert await installer_of(rescuable).rescue() is Effect.AFTER_REBOOT
    for _ in range(2 * ATTEMPTS):
        await rescuable.reboot()
        assert rescuable.booted == "R", "it waits for a person, however often it boots"
    found = await rescuable.installer.look()
    assert (found.is_rescue, found.running, found.fallback) == (True, None, None)
    assert await installer_of(rescuable).rescue() is Effect.AT_ONCE
    for step in (staged(rescuable, "3.0.0", 3), rescuable.installer.switch(one.order), rescuable.installer.fall_back()):
        with pytest.raises(CannotInstall, match="the node runs its recovery system"):
            await step
    await rescuable.installer.trim(())
    assert await installer_of(rescuable).leave_rescue() is Effect.AFTER_REBOOT
    await rescuable.reboot()
    assert (rescuable.truth(), await rescuable.installer.look()) == ("2.0.0", before)
    assert await installer_of(rescuable).leave_rescue() is Effect.AT_ONCE


async def test_node_leaves_the_recovery_system_that_the_bootloader_came_to_by_itself(rescuable: RaucNode) -> None:
    rescuable.set_variable("BOOT_A_LEFT", "0")
    await rescuable.reboot()
    assert rescuable.booted == "R"
    assert await installer_of(rescuable).leave_rescue() is Effect.AFTER_REBOOT
    await rescuable.reboot()
    assert rescuable.truth() == "1.0.0"


async def test_node_without_a_recovery_system_stays_where_it_is(node: RaucNode) -> None:
    assert await installer_of(node).rescue() is Effect.AT_ONCE
    assert await installer_of(node).leave_rescue() is Effect.AT_ONCE
    await node.reboot()
    assert node.truth() == "1.0.0"


async def test_trial_ends_at_the_next_boot_when_grub_has_no_try_left(grub_node: GrubNode) -> None:
    two = await on_trial(grub_node)
    assert (await grub_node.installer.look()).fallback == grub_node.first, "though GRUB would boot it next by itself"
    await grub_node.reboot()
    found = await grub_node.installer.look()
    assert (found.running, found.on_trial, found.ended) == (grub_node.first, None, 2)
    await grub_node.take_effect(await grub_node.installer.switch(replace(two.order, number=3)))
    found = await grub_node.installer.look()
    assert (found.running, found.on_trial, found.ended) == (two.release, 3, None)


async def test_confirmed_system_goes_on_booting_when_grub_takes_its_try_at_each_boot(grub_node: GrubNode) -> None:
    two = await on_trial(grub_node)
    await grub_node.installer.confirm(two.order)
    for _ in range(3):
        await grub_node.reboot()
    assert (await grub_node.installer.look()).running == two.release


async def test_grub_has_no_try_of_a_slot_when_it_is_taken_or_the_slot_is_bad(grub_node: GrubNode) -> None:
    counters = GrubCounters(grub_node.grubenv)
    assert await counters.is_full("A") is True
    assert grub_node.boots() == "A"
    assert await counters.is_full("A") is False, "it was booted and not marked since"
    grub_node.set_variable("A_TRY", "0")
    grub_node.set_variable("A_OK", "0")
    assert await counters.is_full("A") is False


async def test_grub_cannot_be_asked_when_a_variable_is_no_number_or_absent(grub_node: GrubNode) -> None:
    grub_node.set_variable("A_OK", "many")
    with pytest.raises(Unavailable, match=r"A_OK.*'many'"):
        await GrubCounters(grub_node.grubenv).is_full("A")
    with pytest.raises(Unavailable, match=r"C_OK.*None"):
        await GrubCounters(grub_node.grubenv).is_full("C")
    with pytest.raises(Unavailable, match="cannot be read"):
        await GrubCounters(grub_node.grubenv.parent).is_full("A")


async def test_installer_goes_back_to_the_factorys_image_when_nobody_said_what_it_is(node: RaucNode) -> None:
    plain = RaucInstaller(
        node.disk / "state",
        Plane.FIRMWARE,
        UBootCounters(),
        configuration=node.configuration,
        address=node.settings["address"],
    )
    await on_trial(node)
    assert (await plain.look()).fallback is None
    await node.take_effect(await plain.fall_back())
    assert node.truth() == "1.0.0"
