"""A release of a unit is taken whole and for what it is, or refused by what is wrong with it."""

import io
import tarfile
import tracemalloc
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.adapters.node.unit import UnitPlace
from backstay.adapters.node.unit_archive import MOST_ENTRIES, READ_BYTES, UnitArchive, mark
from backstay.adapters.node.unit_syntax import Setting, settings
from backstay.core.device import Reason
from backstay.ports.installer import CannotInstall
from tests.adapters.node.test_process import elf_for, own_program

UNIT = "vision.service"
STARTS = "[Service]\nExecStart=@RELEASE@/sees --labels @RELEASE@/labels.txt\n"
SEES = b"#!/bin/sh\n"


def entry(name: str, **more: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    for key, value in more.items():
        setattr(made, key, value)
    return made


def packed(path: Path, files: Mapping[str, bytes | str], *others: tarfile.TarInfo, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            rights = 0o644 if name.endswith((".service", ".txt")) else 0o755
            archive.addfile(entry(name, size=len(data), mode=rights), io.BytesIO(data))
        for other in others:
            archive.addfile(other)
    return path


def test_archive_is_read_when_its_names_begin_with_a_dot(tmp_path: Path) -> None:
    payload = packed(tmp_path / "a.tar", {f"./{UNIT}": STARTS, "./sees": SEES, "labels.txt": "one\n"})
    found = UnitArchive.read(payload, UNIT)
    assert [(str(one.path), one.is_program) for one in found.members] == [
        (UNIT, False),
        ("sees", True),
        ("labels.txt", False),
    ]
    assert [b"".join(pieces) for _, pieces in found.contents()] == [STARTS.encode(), SEES, b"one\n"]


def test_unit_names_its_own_release_and_marks_its_processes(tmp_path: Path) -> None:
    text = UnitArchive.read(packed(tmp_path / "a.tar", {UNIT: STARTS, "sees": SEES}), UNIT).text_in(Path("/r/1"), "1")
    assert list(settings(text)) == [
        Setting("Service", "ExecStart", "/r/1/sees --labels /r/1/labels.txt"),
        Setting("Service", "Environment", mark("1")),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[Unit]\nConflicts=backstay-agent.service\n" + STARTS, "Conflicts= in [Unit] is not taken"),
        ("[Unit]\nFailureAction=reboot\n" + STARTS, "FailureAction= in [Unit] is not taken"),
        ("[Socket]\nListenStream=1\n" + STARTS, "[Socket] is not taken"),
        (STARTS + "[Install]\nAlias=backstay-agent.service\n", "of [Install] only WantedBy=multi-user.target"),
        ("[Service]\nRestart=always\n", "no ExecStart="),
        ("ExecStart=/bin/true\n", "'ExecStart=/bin/true' is neither"),
        ("[Service]\nExecStart=-@RELEASE@/other\n", "no such executable file"),
        ("[Service]\nExecStart=@RELEASE@/labels.txt\n", "no such executable file"),
        ("x" * 70_000, "70000 bytes, and 65536 are the most"),
    ],
)
def test_unit_is_refused_when_it_could_not_or_must_not_run(tmp_path: Path, text: str, said: str) -> None:
    payload = packed(tmp_path / "a.tar", {UNIT: text, "sees": SEES, "labels.txt": ""})
    with pytest.raises(CannotInstall) as refusal:
        UnitArchive.read(payload, UNIT)
    assert refusal.value.cause.reason is Reason.REJECTED
    assert said in refusal.value.cause.detail


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ([entry("etc", type=tarfile.SYMTYPE, linkname="/etc")], "etc in the archive is no regular file"),
        ([entry("disk", type=tarfile.BLKTYPE)], "disk in the archive is no regular file"),
        ([entry("../sees")], "'../sees' in the archive leads out of it"),
        ([entry("/etc/passwd")], "'/etc/passwd' in the archive leads out of it"),
        ([entry("sees")], "sees stands in the archive twice"),
        ([entry("sees/below")], "sees/below stands in the archive twice, or as a file that others lie in"),
        ([entry("lib/one"), entry("lib")], "lib stands in the archive twice, or as a file that others lie in"),
        ([entry("./sees")], "./sees stands in the archive twice"),
        ([entry("a\nb")], "has a character that no name should"),
        ([entry("labels.txt", size=-1)], "'labels.txt' in the archive has -1 bytes"),
        ([entry(".sees.new/a")], "is called as files are that are not whole yet"),
        ([entry(".sees.new")], "is called as files are that are not whole yet"),
        ([entry("a" * 250)], "is longer than a disk takes names"),
        ([entry("a/" * 600 + "b")], "is longer than a disk takes names"),
        ([entry(f"d{number}", type=tarfile.DIRTYPE) for number in range(MOST_ENTRIES)], "more than 10000 files and"),
    ],
)
def test_archive_is_refused_when_it_would_write_elsewhere(
    tmp_path: Path, others: list[tarfile.TarInfo], said: str
) -> None:
    with pytest.raises(CannotInstall) as refusal:
        UnitArchive.read(packed(tmp_path / "a.tar", {UNIT: STARTS, "sees": SEES}, *others), UNIT)
    assert said in refusal.value.cause.detail


def test_archive_is_refused_when_it_is_compressed_or_has_no_such_unit(tmp_path: Path) -> None:
    with pytest.raises(CannotInstall, match="no uncompressed tar archive"):
        UnitArchive.read(packed(tmp_path / "a.tar", {UNIT: STARTS, "sees": SEES}, mode="w:gz"), UNIT)
    with pytest.raises(CannotInstall, match=r"has no other\.service, which is the unit of this node"):
        UnitArchive.read(packed(tmp_path / "b.tar", {UNIT: STARTS, "sees": SEES}), "other.service")


def test_program_is_refused_when_it_is_for_another_processor(tmp_path: Path) -> None:
    with pytest.raises(CannotInstall, match="sees is a program for ELF machine"):
        UnitArchive.read(packed(tmp_path / "a.tar", {UNIT: STARTS, "sees": elf_for(0xF3)}), UNIT)
    UnitArchive.read(packed(tmp_path / "b.tar", {UNIT: STARTS, "sees": own_program()}), UNIT)


def test_archive_is_refused_by_name_whatever_became_of_its_bytes(tmp_path: Path) -> None:
    whole = packed(tmp_path / "a.tar", {UNIT: STARTS, "sees": SEES, "labels.txt": "one\n"}).read_bytes()
    refused = 0

    @given(at=st.integers(0, 4 * 512 - 1), bits=st.integers(1, 255), end=st.integers(1, len(whole)))
    def altered(at: int, bits: int, end: int) -> None:
        nonlocal refused
        data = bytearray(whole[:end])
        if at < len(data):
            data[at] ^= bits
        payload = tmp_path / "b.tar"
        payload.write_bytes(data)
        try:
            UnitArchive.read(payload, UNIT)
        except CannotInstall as refusal:
            refused += bool(refusal.cause.detail)

    altered()
    assert refused


def test_archive_is_refused_when_its_headers_never_come_to_a_file(tmp_path: Path) -> None:
    name = entry("././@LongLink", type=tarfile.GNUTYPE_LONGNAME, size=0).tobuf(tarfile.GNU_FORMAT)
    payload = tmp_path / "a.tar"
    payload.write_bytes(name * 5_000)
    with pytest.raises(CannotInstall, match="no uncompressed tar archive"):
        UnitArchive.read(payload, UNIT)


@pytest.mark.parametrize("size", [-2, 65 * 1024])
def test_archive_is_refused_when_a_header_has_a_size_that_none_can_have(tmp_path: Path, size: int) -> None:
    kind = tarfile.REGTYPE if size < 0 else tarfile.GNUTYPE_LONGNAME
    header = entry("sees", type=kind, size=size).tobuf(tarfile.GNU_FORMAT)
    payload = tmp_path / "a.tar"
    payload.write_bytes(header + bytes(2 * 65 * 1024))
    with pytest.raises(CannotInstall, match=f"a header says that {size} bytes follow"):
        UnitArchive.read(payload, UNIT)


def test_memory_does_not_grow_with_what_the_archive_holds(tmp_path: Path) -> None:
    payload = packed(tmp_path / "a.tar", {UNIT: STARTS, "sees": SEES + bytes(32 * READ_BYTES), "labels.txt": ""})
    place = UnitPlace(tmp_path, UNIT)
    tracemalloc.start()
    try:
        place.unpack(payload)
        place.put(payload)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * READ_BYTES
