"""`backstay lint` as a person or a script runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lint.manifests import GROUP, PLAN, RULE

BACKSTAY = Path(sys.executable).with_name("backstay")


def lint(*arguments: str | Path, said: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([BACKSTAY, "lint", *arguments], input=said, capture_output=True, text=True, timeout=60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "release").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "broken.yaml").write_text("{")
    (tmp_path / "release" / "plan.yaml").write_text(PLAN)
    (tmp_path / "rest.json").write_text(f"{GROUP}---\n{RULE}")
    (tmp_path / "other.yml").write_text("kind: ConfigMap\napiVersion: v1\n")
    (tmp_path / "README.md").write_text("[")
    return tmp_path


def test_folder_is_read_with_all_that_is_in_it(folder: Path) -> None:
    done = lint(folder)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "3 objects, 0 errors, 0 warnings, 1 document of other kinds passed over\n"


def test_error_fails_and_is_told_with_its_place(folder: Path) -> None:
    (folder / "release" / "plan.yaml").write_text(PLAN.replace("[cameras]", "cameras"))
    done = lint(folder)
    assert done.returncode == 1
    assert done.stdout == f"{folder}/release/plan.yaml:5:11: error: spec.groups: must be a list\n"


def test_warning_fails_only_when_strict(folder: Path) -> None:
    plan = folder / "release" / "plan.yaml"
    assert (lint(plan).returncode, lint(plan, "--strict").returncode) == (0, 1)


def test_json_is_for_programs() -> None:
    done = lint("-", "-o", "json", said=PLAN.replace("size: 10%", "size: 10"))
    found = json.loads(done.stdout)
    assert (found["objects"], found["passedOver"]) == (1, 0)
    assert found["findings"][0] == {
        "file": "stdin",
        "line": 5,
        "column": 12,
        "severity": "warning",
        "subject": "ReleasePlan vision",
        "path": "spec.groups[0]",
        "message": "no DeviceGroup cameras is among these files, so it has to be in the cluster",
    }


def test_file_that_is_not_there_is_an_error() -> None:
    done = lint("nowhere.yaml")
    assert (done.returncode, done.stderr) == (1, "error: there is no nowhere.yaml\n")
