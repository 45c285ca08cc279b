"""Orders to fail, by file, and the fleet file."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from backstay.core.planes import Plane
from backstay.errors import Refused
from backstay.simulate.chips import open_chip
from backstay.simulate.faults import Faults, parse_faults, take_order
from backstay.simulate.fleet import Fleet
from backstay.simulate.partitions import read_table
from tests.simulate.workbench import FACTORY, config, digits, image, model


def test_order_to_fail_is_taken_once(tmp_path: Path) -> None:
    file = tmp_path / "cam-1.faults.json"
    assert take_order(file) is None
    file.write_text('{"cut": {"at": 5, "torn": 0.5}, "fail": ["camera"], "offline": 3, "lie": {"model": "sha256:0"}}')
    assert take_order(file) == Faults(
        cut=(5, 0.5), fail=frozenset({"camera"}), offline_seconds=3, lie={Plane.MODEL: "sha256:0"}
    )
    assert take_order(file) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "not a JSON object"),
        ('{"burn": true}', "no such fault: burn"),
        ('{"cut": 3}', "wrong form"),
        ('{"lie": {"agent": "x"}}', "wrong form"),
    ],
)
def test_order_to_fail_is_refused_by_name_when_it_is_not_understood(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "cam-1.faults.json"
    file.write_text(text)
    with pytest.raises(Refused, match=message):
        take_order(file)
    assert not file.exists()


def test_empty_order_ends_the_standing_faults() -> None:
    assert parse_faults({}) == Faults()


def fleet_file(directory: Path, **changes: object) -> Path:
    (directory / "fw.bin").write_bytes(image("1.0.0"))
    (directory / "m.bsm").write_bytes(model(1))
    (directory / "c.json").write_bytes(config())
    np.savez(directory / "digits.npz", x=digits().x, y=digits().y)
    body = {
        "bridge": {"gw-eu": "http://127.0.0.1:9"},
        "namespace": "acme",
        "digits": "digits.npz",
        "factory": {
            "firmware": "fw.bin",
            "model": {"path": "m.bsm", "version": "1.0.0", "requires": {"firmware": ">=1.0.0"}},
            "config": "c.json",
        },
        "devices": [{"name": f"cam-{number}", "gateway": "gw-eu", "token": "00"} for number in range(3)],
    }
    file = directory / "fleet.json"
    file.write_text(json.dumps(body | changes))
    return file


def test_fleet_file_is_read(tmp_path: Path) -> None:
    fleet = Fleet.load(fleet_file(tmp_path))
    assert str(fleet.members[0].base) == "http://127.0.0.1:9/acme/controller/v1/cam-0"
    assert [fleet.factory[plane].version for plane in Plane] == ["1.0.0", "1.0.0", "0.0.0"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": "red"}, "unknown fields: colour"),
        ({"digits": "none.npz"}, "none.npz is no set of digits"),
        ({"factory": {"firmware": "none.bin"}}, "cannot read .*none.bin"),
        ({"factory": {"firmware": "m.bsm"}}, "no ESP32 image"),
        ({"devices": [{"name": "cam-1", "gateway": "gw-us", "token": ""}]}, "cam-1 is behind gw-us"),
        ({"devices": [{}]}, "is no fleet file"),
    ],
)
def test_fleet_file_is_refused_when_it_is_wrong(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=message):
        Fleet.load(fleet_file(tmp_path, **changes))


def test_chip_is_provisioned_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "cam-1.new").write_bytes(b"left over from a start that was killed")
    flash = open_chip(tmp_path / "cam-1.flash", FACTORY)
    assert "ota_1" in read_table(flash)
    flash.close()
    assert not (tmp_path / "cam-1.new").exists()


@pytest.mark.parametrize(("options", "files"), [((), 3), (("--in-memory",), 0)])
def test_esp32_simulate_ends_cleanly_when_it_gets_sigterm(options: tuple[str, ...], files: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from backstay.cli.main import main; main()", "esp32", "simulate", *options]
    with subprocess.Popen(
        [*command, "--fleet", str(fleet_file(tmp_path)), "--directory", str(tmp_path / "flash")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stderr is not None
        booted = 0
        while booted < 3:
            line = process.stderr.readline()
            assert line, "the simulator ended"
            booted += b"PowerOn: boots ota_0" in line
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=10)
        assert process.returncode == 0
        assert b"stopped" in out
    assert len(list((tmp_path / "flash").glob("*.flash"))) == files
