"""The image holds what the program asks for, in the versions that the tests run with."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from image.python import LOCK

ROOT = Path(__file__).parents[2]


def pins(lock: Path) -> set[tuple[str, str]]:
    return set(re.findall(r"^([\w.-]+)==(\S+)", lock.read_text(), re.MULTILINE))


def test_runtime_lock_has_everything_that_the_program_depends_on():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {canonicalize_name(Requirement(text).name) for text in project["dependencies"]}

    assert asked <= {canonicalize_name(name) for name, _ in pins(LOCK)}, "`make lock` pins them"


def test_runtime_lock_is_a_part_of_the_lock_that_tests_run_with():
    assert pins(LOCK) <= pins(ROOT / "requirements.lock"), "`make lock` makes both"


def test_runtime_lock_has_nothing_that_only_development_needs():
    names = {name for name, _ in pins(LOCK)}

    assert names & {"pytest", "mypy", "ruff", "scikit-learn", "esptool", "hypothesis"} == set()
