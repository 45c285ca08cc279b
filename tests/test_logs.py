"""In JSON every line is an object with fields to search by; in text nothing changes."""

import asyncio
import io
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from backstay.logs import LogFormat, about, always_about, last_words, write_log

TEXT = logging.Formatter("%(levelname).1s %(message)s")
log = logging.getLogger("backstay.some.module")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root, hook = logging.getLogger(), sys.excepthook
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    logging.captureWarnings(capture=False)
    root.handlers[:], sys.excepthook = handlers, hook
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_line_is_an_object_with_what_every_line_has(stream):
    write_log(LogFormat.JSON, TEXT, stream=stream)
    log.info("%s/%s: goes on\nand on", "acme", "vision")
    (line,) = lines(stream)
    assert line.pop("time").endswith("+00:00")
    assert line == {"level": "info", "logger": "backstay.some.module", "message": "acme/vision: goes on\nand on"}


def test_line_says_what_it_is_about_when_the_block_does(stream):
    write_log(LogFormat.JSON, TEXT, stream=stream)
    with about(namespace="acme", plan="vision"):
        with about(device="cam-1"):
            log.info("inside")
        log.info("outside", extra={"ring": "canary"})
    log.info("after")
    inside, outside, after = lines(stream)
    assert (inside["namespace"], inside["plan"], inside["device"]) == ("acme", "vision", "cam-1")
    assert "device" not in outside
    assert outside["ring"] == "canary"
    assert "plan" not in after


async def test_tasks_say_what_they_are_about_each_for_itself(stream):
    write_log(LogFormat.JSON, TEXT, stream=stream)

    async def work(plan: str) -> None:
        always_about(plan=plan)
        await asyncio.sleep(0)
        log.info(plan)

    async with asyncio.TaskGroup() as group:
        for plan in ("a", "b"):
            group.create_task(work(plan))
    log.info("none")
    assert [(line["message"], line.get("plan")) for line in lines(stream)] == [("a", "a"), ("b", "b"), ("none", None)]


def test_error_is_a_field_when_it_was_raised_or_is_told(stream):
    write_log(LogFormat.JSON, TEXT, stream=stream)
    try:
        int("wrong\nplace")
    except ValueError as error:
        log.exception("it failed")
        log.warning("%s", error)
    raised, told = lines(stream)
    assert raised["error"] == told["error"] == r"ValueError: invalid literal for int() with base 10: 'wrong\nplace'"
    assert "test_logs.py" in raised["traceback"]
    assert "traceback" not in told


def test_warnings_and_last_words_are_lines_too(stream):
    write_log(LogFormat.JSON, TEXT, stream=stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old\nways", stacklevel=1)
    last_words(ValueError("the end"))
    warned, ended = lines(stream)
    assert (warned["level"], ended["level"], ended["message"]) == ("warning", "error", "the end")


def test_text_stays_as_it_is_whatever_it_is_about(stream, capsys):
    write_log(LogFormat.TEXT, TEXT, stream=stream)
    with about(plan="vision"):
        log.info("goes on")
    last_words(ValueError("the end"))
    assert stream.getvalue() == "I goes on\n"
    assert capsys.readouterr().err == "error: the end\n"


def test_process_that_fails_says_so_in_json_when_asked_to():
    script = (
        "import logging, backstay.logs as l; l.write_log(l.LogFormat.JSON, logging.Formatter()); raise ValueError(1)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    (line,) = (json.loads(line) for line in done.stderr.splitlines())
    assert done.returncode == 1
    assert (line["level"], line["error"]) == ("critical", "ValueError: 1")
