"""ESP-IDF's choice of the app slot, against Espressif's own answers and ours by hand."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from backstay.cli.esp32 import app
from backstay.core.otadata import SECTOR_BYTES, Entry, ImageState, OtaData, at_reset, choose, mark

HERE = Path(__file__).parent
BOOTS = [json.loads(line) for line in (HERE / "vectors" / "otadata-boots.jsonl").read_text().splitlines()]
ACTIVE = HERE / "vectors" / "otadata-active.jsonl"
"""Answers of Espressif's own selector, before any state change; `active` is -1 for none."""

entries = st.builds(
    lambda seq, state, whole: Entry.choosing(seq, state) if whole else Entry(seq, state=state, crc=7),
    st.integers(0, 12) | st.integers(0, 2**32 - 1),
    st.sampled_from([0, 1, 2, 3, 4, 0xFFFFFFFF, 99]),
    st.booleans(),
)
otadatas = st.builds(OtaData, st.tuples(entries, entries))


def partition(otadata: str) -> bytes:
    raw = bytes.fromhex(otadata)
    return b"".join(raw[at : at + 32].ljust(SECTOR_BYTES, b"\xff") for at in (0, 32))


def test_otadata_agrees_with_espressif_in_every_row() -> None:
    rows = [json.loads(line) for line in ACTIVE.read_text().splitlines()]
    assert len(rows) >= 1000
    for row in rows:
        active = OtaData.from_partition(partition(row["otadata"])).active
        assert (-1 if active is None else active) == row["active"], row


@pytest.mark.parametrize("row", BOOTS, ids=[row["why"] for row in BOOTS])
def test_esp32_otadata_prints_what_the_next_reset_boots(row: dict[str, object], tmp_path: Path) -> None:
    dump = tmp_path / "otadata.bin"
    dump.write_bytes(partition(str(row["otadata"])))
    factory = "--factory" if row["factory"] else "--no-factory"
    result = CliRunner().invoke(app, ["otadata", str(dump), "--slots", str(row["slots"]), factory])
    assert result.exit_code == 0
    assert result.stdout == f"active-entry: {row['active']}\nboots: {row['boots']}\n"


@given(st.binary(min_size=64, max_size=64), st.integers(1, 16), st.booleans())
def test_at_reset_names_a_slot_that_exists_when_flash_is_noise(noise: bytes, slots: int, factory: bool) -> None:
    reset = at_reset(OtaData.unpack(noise[:32], noise[32:]), slots, factory=factory)
    assert str(reset) == "factory" or 0 <= int(str(reset).removeprefix("ota_")) < slots
    assert OtaData.unpack(noise[:32], noise[32:]).pack() == noise


@given(otadatas, st.integers(1, 16), st.booleans())
def test_at_reset_leaves_no_one_on_trial_twice(otadata: OtaData, slots: int, factory: bool) -> None:
    reset = at_reset(otadata, slots, factory=factory)
    after = otadata
    for write in reset.writes:
        after = after.written(write)
    on_trial = [x for x in after.entries if x.state == ImageState.PENDING_VERIFY]
    assert len(on_trial) <= 1
    if on_trial:
        assert reset.boots == on_trial[0].slot(slots)
        assert not any(
            x.is_valid and x.state == ImageState.PENDING_VERIFY
            for x in after.written(at_reset(after, slots, factory=factory).writes[0]).entries
        )


@given(otadatas, st.integers(1, 16), st.data())
def test_choose_makes_the_next_reset_boot_the_slot_when_numbers_are_left(
    otadata: OtaData, slots: int, data: st.DataObject
) -> None:
    slot = data.draw(st.integers(0, slots - 1))
    active = otadata.active_entry
    running_confirmed = active is None or active.state == ImageState.VALID
    try:
        write = choose(otadata, slot, slots)
    except ValueError:
        assert active is not None
        assert active.seq > 2**32 - 20
        return
    assert write.entry.slot(slots) == slot
    assert active is None or write.index == 1 - otadata.entries.index(active) or otadata.entries[0] == active
    if running_confirmed and (active is None or active.slot(slots) != slot):
        assert at_reset(otadata.written(write), slots, factory=True).boots == slot


@given(otadatas)
def test_mark_keeps_the_choice_when_it_confirms(otadata: OtaData) -> None:
    if write := mark(otadata, ImageState.VALID):
        assert otadata.written(write).active == otadata.active
        assert otadata.written(write).active_entry == Entry.choosing(write.entry.seq, ImageState.VALID)


def test_choose_begins_with_the_first_sector_and_goes_on_in_the_other() -> None:
    label = b"firmware-2.0.0".ljust(20, b"\0")
    first = choose(OtaData(), 1, 2, ImageState.VALID, label)
    assert (first.index, first.entry) == (0, Entry.choosing(2, ImageState.VALID, label))
    second = choose(OtaData().written(first), 0, 2, ImageState.NEW, label)
    assert (second.index, second.entry) == (1, Entry.choosing(3, ImageState.NEW, label))


def test_choose_takes_the_lowest_number_that_means_the_slot() -> None:
    zero = OtaData((Entry.choosing(0, ImageState.VALID), Entry()))
    assert choose(zero, 0, 2).entry.seq == 1
    assert choose(zero, 1, 2).entry.seq == 2


@pytest.mark.parametrize(("left", "is_refused"), [(0xFFFFFFFE, False), (0xFFFFFFFF, True)])
def test_choose_refuses_the_number_that_means_an_erased_entry(left: int, is_refused: bool) -> None:
    last = OtaData((Entry.choosing(0xFFFFFFFD, ImageState.VALID), Entry()))
    slot = (left - 1) % 16
    if is_refused:
        with pytest.raises(ValueError, match="the sequence numbers are used up at 4294967295: erase the otadata"):
            choose(last, slot, 16)
    else:
        assert choose(last, slot, 16).entry.seq == left


def test_entry_of_a_slot_is_the_newest_that_was_written_whole() -> None:
    old, new = Entry.choosing(1, ImageState.VALID), Entry.choosing(3, ImageState.INVALID)
    assert OtaData((old, new)).entry_of(0, 2) == new
    assert OtaData((new, old)).entry_of(0, 2) == new
    assert OtaData((old, new)).entry_of(1, 2) is None
    torn = replace(Entry.choosing(5, ImageState.VALID), crc=7)
    assert OtaData((old, torn)).entry_of(0, 2) == old
    assert OtaData((old, Entry.choosing(2, ImageState.NEW))).entry_of(1, 3) == Entry.choosing(2, ImageState.NEW)


def test_mark_changes_only_a_state_that_is_another() -> None:
    pending = OtaData((Entry.choosing(1, ImageState.PENDING_VERIFY), Entry()))
    write = mark(pending, ImageState.VALID)
    assert write is not None
    assert (write.index, write.entry.state) == (0, ImageState.VALID)
    assert mark(pending.written(write), ImageState.VALID) is None
    assert mark(OtaData(), ImageState.VALID) is None


def test_at_reset_ends_one_trial_and_begins_the_next_in_that_order() -> None:
    both = OtaData((Entry.choosing(1, ImageState.PENDING_VERIFY), Entry.choosing(2, ImageState.NEW)))
    reset = at_reset(both, 2, factory=False)
    assert [(write.index, write.entry.state) for write in reset.writes] == [
        (0, ImageState.ABORTED),
        (1, ImageState.PENDING_VERIFY),
    ]
    assert reset.boots == 1
    confirmed = OtaData((Entry.choosing(1, ImageState.VALID), Entry()))
    assert at_reset(confirmed, 2, factory=False).writes == ()


def test_choose_refuses_a_slot_that_the_device_lacks() -> None:
    with pytest.raises(ValueError, match="slot 2 does not exist on a device with 2 slots"):
        choose(OtaData(), 2, 2)


@pytest.mark.parametrize("size", [0, 64, 8191, 8193, 16384])
def test_esp32_otadata_refuses_a_dump_when_its_size_is_wrong(size: int, tmp_path: Path) -> None:
    dump = tmp_path / "dump.bin"
    dump.write_bytes(b"\xff" * size)
    result = CliRunner().invoke(app, ["otadata", str(dump)])
    assert result.exit_code == 2
    told = " ".join(result.stderr.replace("│", " ").split())
    found = f"only {size}" if size < 8192 else "more"
    assert f"an otadata partition is 8192 bytes (two sectors of 4 KiB), this is {found}" in told
    assert result.stdout == ""


def test_esp32_otadata_refuses_a_file_that_is_not_there(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["otadata", str(tmp_path / "none.bin")])
    assert result.exit_code == 2
    assert "No such file" in result.stderr


@pytest.mark.parametrize("slots", ["0", "17", "-1"])
def test_esp32_otadata_refuses_slots_that_esp_idf_cannot_have(slots: str, tmp_path: Path) -> None:
    dump = tmp_path / "dump.bin"
    dump.write_bytes(b"\xff" * 8192)
    result = CliRunner().invoke(app, ["otadata", str(dump), "--slots", slots])
    assert result.exit_code == 2
    assert "ESP-IDF has 1 to 16" in result.stderr
