"""What stands on the flash: the partition table, selectors, slots and the journal, each with its power cuts."""

from collections.abc import Mapping
from typing import Any

import pytest

from backstay.core.otadata import ImageState, OtaData
from backstay.core.planes import Plane
from backstay.simulate.factory import Payload
from backstay.simulate.flash import Flash, PowerCut
from backstay.simulate.journal import Journal
from backstay.simulate.partitions import FACTORY, LAYOUT, TABLE_OFFSET, BadTable, read_table, write_table
from backstay.simulate.selector import Selector
from backstay.simulate.slots import NoSpaceLeft, Slot
from tests.simulate.workbench import CHIP_BYTES, model

PARTITIONS = {partition.label: partition for partition in LAYOUT}
PAYLOAD = Payload(bytes(range(256)) * 40, "1.2.3", {"firmware": ">=1.0.0"})
RELEASE = PAYLOAD.release(Plane.MODEL)


def blank() -> Flash:
    return Flash(bytearray(b"\xff" * CHIP_BYTES))


def test_partition_table_is_read_as_it_was_written() -> None:
    flash = blank()
    write_table(flash, (*LAYOUT, FACTORY))
    assert dict(read_table(flash)) == {**PARTITIONS, "factory": FACTORY}


def test_partitions_do_not_overlap() -> None:
    ends = [0x9000]
    for partition in sorted((*LAYOUT, FACTORY), key=lambda x: x.offset):
        assert partition.offset >= ends[-1]
        ends.append(partition.offset + partition.size)
    assert ends[-1] <= 4 * 1024 * 1024


def test_partition_table_is_refused_when_a_bit_is_wrong() -> None:
    flash = blank()
    with pytest.raises(BadTable, match="flash the device at the factory"):
        read_table(flash)
    write_table(flash, LAYOUT)
    flash.write(TABLE_OFFSET + 12, b"\0")
    with pytest.raises(BadTable):
        read_table(flash)


@pytest.mark.parametrize("torn", [0.0, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("rewrites", [0, 1, 2, 3])
def test_journal_has_the_old_record_or_the_new_when_power_goes(torn: float, rewrites: int) -> None:
    for cut in range(2):
        flash = blank()
        for number in range(rewrites):
            # Opened anew each time, as after a reboot.
            Journal(flash, PARTITIONS["journal"]).save({"n": number})
        old: Mapping[str, Any] = {"n": rewrites - 1} if rewrites else {}
        journal = Journal(flash, PARTITIONS["journal"])
        flash.cut_power(cut, torn)
        with pytest.raises(PowerCut):
            journal.save({"n": rewrites})
        flash.power_on()
        assert Journal(flash, PARTITIONS["journal"]).record == old


def test_journal_writes_nothing_when_nothing_changed() -> None:
    flash = blank()
    journal = Journal(flash, PARTITIONS["journal"])
    journal.save({"n": 1})
    operations = flash.operations
    journal.save({"n": 1})
    assert flash.operations == operations


@pytest.mark.parametrize("cut", [0, 1])
@pytest.mark.parametrize("torn", [0.0, 0.5, 0.9])
def test_selector_has_the_old_choice_or_the_new_when_power_goes(cut: int, torn: float) -> None:
    flash = blank()
    selector = Selector(flash, PARTITIONS["model_sel"])
    selector.choose(0, ImageState.VALID)
    flash.cut_power(cut, torn)
    with pytest.raises(PowerCut):
        selector.choose(1, ImageState.NEW, 7)
    flash.power_on()
    assert selector.reset() in (0, 1)
    assert selector.confirmed(0)


def test_selector_knows_whose_trial_it_was_that_failed() -> None:
    selector = Selector(blank(), PARTITIONS["model_sel"])
    selector.choose(0, ImageState.VALID)
    selector.choose(1, ImageState.PENDING_VERIFY, 7)
    assert selector.on_trial(1)
    assert selector.reset() == 0
    assert selector.ended_trial(1, 7)
    assert not selector.ended_trial(1, 8)
    assert selector.condemned(1)
    assert not selector.confirmed(1)


def test_selector_is_otadata_that_the_command_line_reads() -> None:
    flash = blank()
    selector = Selector(flash, PARTITIONS["otadata"])
    selector.choose(1, ImageState.VALID)
    dump = flash.read(PARTITIONS["otadata"].offset, PARTITIONS["otadata"].size)
    assert OtaData.from_partition(dump) == selector.read()


def test_slot_holds_what_was_sealed_and_nothing_before() -> None:
    slot = Slot(blank(), PARTITIONS["model_a"], Plane.MODEL)
    download = slot.begin(RELEASE.content, len(PAYLOAD.data))
    download.write(PAYLOAD.data)
    assert download.finish() == RELEASE.content
    assert slot.holding() is None
    slot.seal(RELEASE, len(PAYLOAD.data))
    holding = slot.holding()
    assert holding is not None
    assert (holding.release, holding.size) == (RELEASE, len(PAYLOAD.data))


def test_slot_holds_nothing_when_a_bit_of_the_payload_flips() -> None:
    flash = blank()
    slot = Slot(flash, PARTITIONS["model_a"], Plane.MODEL)
    slot.fill(RELEASE, PAYLOAD.data)
    flash.write(PARTITIONS["model_a"].offset + 77, b"\0")
    assert slot.holding() is None


@pytest.mark.parametrize("torn", [0.0, 0.1, 0.6, 1.0])
def test_slot_fills_in_the_end_when_power_goes_at_any_operation(torn: float) -> None:
    for base in (b"", model(1)):
        for cut in range(20):
            flash = blank()
            slot = Slot(flash, PARTITIONS["model_a"], Plane.MODEL)
            if base:
                slot.fill(Payload(base, "1.0.0").release(Plane.MODEL), base)
            flash.cut_power(cut, torn)
            try:
                slot.fill(RELEASE, PAYLOAD.data)
            except PowerCut:
                flash.power_on()
                found = slot.holding()
                assert found is None or found.release.content in (
                    RELEASE.content,
                    Payload(base, "1").release(Plane.MODEL).content,
                )
            flash.cut_power(10**9)
            slot.clear()
            slot.fill(RELEASE, PAYLOAD.data)
            found = slot.holding()
            assert found is not None
            assert found.release == RELEASE


def test_download_begins_anew_when_another_content_was_there() -> None:
    flash = blank()
    slot = Slot(flash, PARTITIONS["model_a"], Plane.MODEL)
    slot.begin(RELEASE.content, len(PAYLOAD.data)).write(PAYLOAD.data[:9000])
    assert slot.begin(RELEASE.content, len(PAYLOAD.data)).wanted == 8192
    other = Payload(b"other" * 3000, "2.0.0").release(Plane.MODEL)
    assert slot.begin(other.content, 15000).wanted == 0
    assert slot.begin(RELEASE.content, len(PAYLOAD.data)).wanted == 0


def test_slot_refuses_what_does_not_fit() -> None:
    slot = Slot(blank(), PARTITIONS["config_a"], Plane.CONFIG)
    with pytest.raises(NoSpaceLeft, match="do not fit into config_a, which takes 12288"):
        slot.begin(RELEASE.content, 12289)
    download = slot.begin(RELEASE.content, 10)
    with pytest.raises(NoSpaceLeft, match="beyond its 10 bytes"):
        download.write(b"x" * 11)


def test_slot_is_filled_again_when_its_payload_rotted() -> None:
    flash = blank()
    slot = Slot(flash, PARTITIONS["model_a"], Plane.MODEL)
    slot.fill(RELEASE, PAYLOAD.data)
    flash.write(PARTITIONS["model_a"].offset + 77, b"\0")
    slot.fill(RELEASE, PAYLOAD.data)
    assert slot.holding() is not None
