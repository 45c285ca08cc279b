"""The checker reads flash files and the audit log rightly, by means of its own."""

import ast
import json
from dataclasses import replace
from pathlib import Path

import pytest

from backstay.core.otadata import ImageState
from backstay.core.planes import Plane
from backstay.simulate.bank import Bank
from backstay.simulate.factory import Payload, provision
from backstay.simulate.flash import Flash
from backstay.simulate.partitions import read_table
from demo.checker.audit import Order, read_history
from demo.checker.evidence import Evidence, Moment
from demo.checker.finding import Finding, all_of
from demo.checker.flash import UnreadableFlash, read_flash
from demo.checker.judge import all_held, judge

CONFIG = Payload(
    b'{"thresholds": {"confidence": 0.5}, "sampling": {"intervalMilliseconds": 500, "framesPerReport": 20}}', "1.0.0"
)
NEXT = Payload(CONFIG.data.replace(b"0.5", b"0.6"), "1.1.0")


@pytest.fixture
def chip(tmp_path: Path) -> Path:
    """A flash file that holds a config and nothing else."""
    flash = Flash.open(tmp_path / "cam.flash")
    provision(flash, {Plane.CONFIG: CONFIG})
    flash.close()
    return tmp_path / "cam.flash"


def test_flash_reader_agrees_with_the_device_when_it_comes_from_the_factory(chip: Path) -> None:
    config = read_flash(chip).planes["config"]
    assert (config.running.content, config.running.version) == (CONFIG.release(Plane.CONFIG).content, "1.0.0")
    assert (config.slot, config.running.state, config.spare.content) == (0, "Valid", "")


@pytest.mark.parametrize(
    ("state", "slot", "spare"),
    [(ImageState.VALID, 1, "Valid"), (ImageState.ABORTED, 0, "Aborted"), (ImageState.INVALID, 0, "Invalid")],
)
def test_flash_reader_follows_the_selector_when_another_slot_was_chosen(
    chip: Path, state: int, slot: int, spare: str
) -> None:
    flash = Flash.open(chip)
    bank = Bank(flash, read_table(flash), Plane.CONFIG)
    bank.slots[1].fill(NEXT.release(Plane.CONFIG), NEXT.data)
    bank.selector.choose(1, ImageState.PENDING_VERIFY, 7)
    bank.selector.mark(state)
    flash.close()
    config = read_flash(chip).planes["config"]
    assert (config.slot, config.spare.state) == (slot, spare)
    assert config.running.version == ("1.1.0" if slot else "1.0.0")


def test_flash_reader_finds_no_content_when_a_byte_was_altered(chip: Path) -> None:
    data = bytearray(chip.read_bytes())
    data[0x160000] ^= 0xFF
    chip.write_bytes(data)
    assert read_flash(chip).planes["config"].running.content == ""


def test_flash_reader_refuses_a_file_when_it_has_no_partition_table(tmp_path: Path) -> None:
    (tmp_path / "cam.flash").write_bytes(b"\xff" * 0x10000)
    with pytest.raises(UnreadableFlash, match="has no partition"):
        read_flash(tmp_path / "cam.flash")


def event(at: str, body: dict[str, object], **about: str) -> str:
    reference = {"apiGroup": "backstay.dev", "namespace": "acme", "resource": "edgedevices", "name": "cam", **about}
    return json.dumps(
        {
            "stage": "ResponseComplete",
            "stageTimestamp": at,
            "verb": "patch",
            "user": {"username": "operator"},
            "objectRef": reference,
            "responseStatus": {"code": 200},
            "responseObject": body,
        }
    )


def ordered(number: int) -> dict[str, object]:
    assignment = {"version": "1.1.0", "content": "sha256:1", "ring": "canary", "revision": "abc-2"}
    step = {"number": number, "plane": "model", "type": "Install"}
    return {"spec": {"desired": {"model": assignment, "step": step}}}


def test_audit_reader_counts_an_order_once_when_its_object_is_written_twice(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    lines = [
        event("2026-01-01T00:00:01.000000Z", ordered(1)),
        event("2026-01-01T00:00:03.000000Z", ordered(2)),
        event("2026-01-01T00:00:04.000000Z", ordered(2)),
        '{"half a li',
    ]
    log.write_text("\n".join(lines), encoding="utf-8")
    history = read_history(log, "acme", "vision", "2026-01-01T00:00:02+00:00", "2026-01-01T00:00:09+00:00")
    assert [order.number for order in history.orders] == [2]
    assert history.orders[0].by == "operator"


def test_audit_reader_leaves_out_what_other_tenants_did(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_text(event("2026-01-01T00:00:03Z", ordered(1), namespace="globex") + "\n", encoding="utf-8")
    assert not read_history(log, "acme", "vision", "2026-01-01T00:00:00Z", "2026-01-01T00:00:09Z").orders


def moment() -> Moment:
    return Moment("2026-01-01T00:00:00+00:00", {}, [], {}, {}, [], {}, {}, "S")


def evidence(tmp_path: Path, act: int) -> Evidence:
    log = tmp_path / "audit.log"
    log.write_text("", encoding="utf-8")
    history = read_history(log, "acme", "vision", moment().at, moment().at)
    versions = {
        plane: {"1.0.0": "a", "1.1.0": "b", "1.2.0": "c", "2.0.0": "d", "3.0.0": "e", "3.1.0": "f"}
        for plane in ("firmware", "model", "config")
    }
    return Evidence(act, versions, moment(), moment(), moment(), history, [], {}, {})


@pytest.mark.parametrize("act", [1, 2, 3, 4, 6, 7, 8])
def test_checker_confirms_no_act_when_there_is_no_evidence(tmp_path: Path, act: int) -> None:
    assert not all_held(judge(evidence(tmp_path, act)))


def test_checker_names_the_device_when_a_refused_config_was_ordered(tmp_path: Path) -> None:
    found = evidence(tmp_path, 5)
    order = Order(found.after.at, "somebody", "cam-7", 3, "config", "Install", "2.0.0", "d", "internal", "abc-5")
    found = replace(found, history=replace(found.history, orders=[order]))
    broken = {finding.claim: finding.facts for finding in judge(found) if not finding.held}
    assert "cam-7 was ordered config 2.0.0" in broken["nothing was ordered"]


def test_evidence_is_the_same_when_it_was_written_down(tmp_path: Path) -> None:
    found = evidence(tmp_path, 3)
    found.save(tmp_path / "act-3.json")
    assert Evidence.load(tmp_path / "act-3.json") == found


def test_finding_names_five_offenders_and_counts_the_rest_when_there_are_many() -> None:
    assert all_of("all is well", [f"cam-{number}" for number in range(7)], "fine") == Finding(
        "all is well", held=False, facts="not so: cam-0; cam-1; cam-2; cam-3; cam-4 and 2 more"
    )


def test_checker_shares_no_code_with_what_it_checks() -> None:
    for file in (Path(__file__).parents[2] / "demo" / "checker").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            ours = [name for name in names if name.split(".")[0] in ("backstay", "demo")]
            assert all(name.startswith("demo.checker.") for name in ours), f"{file.name} imports {ours}"
