"""What the guides show is what the commands print, and what they tell people to write can be read."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from backstay.api import Hold
from backstay.core.planes import Plane
from backstay.core.requests import Request, Verb, parse_request
from tests.guides import blocks

ROOT = Path(__file__).parents[2]
BACKSTAY = Path(sys.executable).with_name("backstay")
AHEAD = (ROOT / "docs" / "how-to" / "see-ahead.md").read_text()
ASK = (ROOT / "docs" / "how-to" / "ask-and-hold.md").read_text()


def commands(text: str) -> list[list[str]]:
    """The `backstay` lines that need no cluster, without their comments."""
    lines = (line.partition("  #")[0].split() for block in blocks(text, "sh") for line in block.splitlines())
    return [words[1:] for words in lines if words[:1] == ["backstay"] and "--fleet" in words]


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A directory with the guide's own files: the example plan with its artifacts filled in, and the fleet file."""
    plan = (ROOT / "manifests" / "example" / "3-plan.yaml").read_text()
    for digit, plane in enumerate(Plane):
        plan = plan.replace(f"{plane.upper()}_ARTIFACT", f"registry.example/vision/{plane}@sha256:{str(digit) * 64}")
    (tmp_path / "plan.yaml").write_text(plan)
    (fleet,) = blocks(AHEAD, "yaml")
    (tmp_path / "fleet.yaml").write_text(fleet)
    return tmp_path


@pytest.mark.parametrize("words", commands(AHEAD), ids=" ".join)
def test_commands_of_the_guide_print_what_it_shows(desk: Path, words: list[str]) -> None:
    done = subprocess.run([BACKSTAY, *words], cwd=desk, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    printed = "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())
    if "200" in words:
        (shown,) = (block for block in blocks(AHEAD, "text") if block.startswith(_BEGINS[words[0]]))
        assert shown in printed
    assert ("--plot" in words) == (desk / "exposure.svg").exists()


_BEGINS = {"plan": "plan vision", "simulate": "it ends"}


def test_requests_of_the_guide_can_be_read() -> None:
    asked = re.findall(r"backstay\.dev/request=(\S+)", ASK)
    assert asked
    assert all(isinstance(parse_request(text), Request) for text in asked)
    assert sorted(re.findall(r"^\| `([a-z]+)` \|", ASK, re.MULTILINE)) == sorted(Verb)


def test_hold_of_the_guide_is_valid() -> None:
    (written,) = blocks(ASK, "yaml")
    hold = Hold.from_document(yaml.safe_load(written))
    assert hold.metadata.name == "incident-7"
