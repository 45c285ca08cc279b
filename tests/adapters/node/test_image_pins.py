"""What is asked of containerd's client, and what becomes of its errors; that it does it, a real node shows."""

import logging
from pathlib import Path

import pytest

from backstay.adapters.node.image_pins import ContainerdImages

CLIENT = """#!/bin/sh
# Answers as containerd's client: all images, or those that carry our label.
echo "$@" >> {log}
case "$*" in
"images list --quiet") printf 'a@sha256:1\\nb@sha256:2\\nc@sha256:3\\n' ;;
"images list --quiet labels."*) printf 'c@sha256:3\\n' ;;
esac
"""


def client(directory: Path, text: str = CLIENT) -> tuple[str, ...]:
    program = directory / "ctr"
    program.write_text(text.format(log=directory / "log"))
    program.chmod(0o755)
    return ("/bin/sh", str(program))


async def test_images_are_pinned_that_the_node_has_and_those_before_let_go(tmp_path: Path) -> None:
    await ContainerdImages(client(tmp_path)).keep(["b@sha256:2", "not-here@sha256:4"])
    assert (tmp_path / "log").read_text().splitlines()[2:] == [
        "images label b@sha256:2 io.cri-containerd.pinned=pinned backstay.dev/pinned=true",
        "images label c@sha256:3 io.cri-containerd.pinned= backstay.dev/pinned=",
    ]


@pytest.mark.parametrize(
    ("ctr", "words"),
    [
        (("/nowhere/ctr",), "No such file"),
        (("/bin/sh", "-c", "echo no containerd >&2; exit 1"), "no containerd"),
        (("/bin/sh", "-c", "exit 3"), "it ended with 3"),
    ],
)
async def test_step_goes_on_and_the_trouble_is_said_when_images_cannot_be_pinned(
    ctr: tuple[str, ...], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        await ContainerdImages(ctr).keep(["a@sha256:1"])
    assert "could not be pinned" in caplog.text
    assert words in caplog.text
