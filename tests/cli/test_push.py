"""`backstay push` as a person or a script runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from backstay.cli.push import read_requirements
from backstay.errors import Refused
from tests.contracts.artifacts import blob_of
from tests.contracts.docker_registry import docker_registry_in


def test_push_prints_the_reference_alone_when_it_worked(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(b"weights")
    with docker_registry_in(tmp_path) as docker:
        arguments = ("--plane=model", "--version=7.2.0", "--class=esp32", f"--repository={docker.host}/vision/model")
        command = ("backstay", "push", *arguments, "--requires=firmware>=2.2,<3", str(weights))
        plain = run(*command)
        described = json.loads(run(*command, "-o", "json").stdout)
    assert plain.stdout == f"{described['reference']}\n"
    assert "reading it back" in plain.stderr
    assert described["content"] == blob_of(b"weights").digest
    assert described["requires"] == {"firmware": ">=2.2.0,<3.0.0"}


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--min-runtime=new", "--min-runtime: new is not valid SemVer string"),
        ("--served-as=a b", "--served-as: 'a b' is neither MODEL nor MODEL/VERSION"),
        ("--npu-target=RK3566", "--npu-target or --form: 'RK3566' is no NPU target"),
    ],
)
def test_push_names_the_option_that_cannot_be_read(tmp_path: Path, option: str, said: str) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(b"weights")
    arguments = ("--plane=model", "--version=7.2.0", "--class=rk3566", "--repository=127.0.0.1:1/x", option)
    done = run("backstay", "push", *arguments, str(weights), status=1)
    assert done.stderr.startswith(f"error: {said}")


def test_push_says_what_is_wrong_when_the_file_is_no_image(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no image")
    done = run("backstay", "push", "--plane=firmware", "--version=1.0.0", "--class=esp32",
               "--repository=127.0.0.1:1/x", str(text), status=1)  # fmt: skip
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {text} does not begin with the magic byte 0xE9")


def run(*command: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name(command[0])
    done = subprocess.run((program, *command[1:]), capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stderr
    return done


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ([], {}),
        (["firmware>=2.2.0,<3"], {"firmware": ">=2.2.0,<3.0.0"}),
        (["firmware >=2.2, <3", "model=7.0.0"], {"firmware": ">=2.2.0,<3.0.0", "model": "=7.0.0"}),
        (["firmware>2"], {"firmware": ">2"}),
    ],
)
def test_read_requirements_reads_planes_and_ranges(texts: list[str], found: dict[str, str]) -> None:
    assert read_requirements(texts) == found


@pytest.mark.parametrize("texts", [[">=2.0.0"], ["firmware"], [""], ["firmware>=1.0.0", "firmware<2.0.0"]])
def test_read_requirements_refuses_what_is_no_requirement(texts: list[str]) -> None:
    with pytest.raises(Refused, match="requir"):
        read_requirements(texts)
