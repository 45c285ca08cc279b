"""How every process writes its log: in text for a terminal, or as JSON, one object a line, for machines.

Whoever works on one plan or device says so once, with `about`; every line that is logged inside carries it as fields of
its own. Only the standard library, because the agent of a node has to stay small.
"""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType, TracebackType
from typing import Final, TextIO

FIELDS: Final = ("namespace", "plan", "ring", "revision", "device", "gateway")
"""What lines may be about, in the order in which they stand."""

log = logging.getLogger(__name__)

_ABOUT: ContextVar[Mapping[str, str]] = ContextVar("backstay_log_about", default=MappingProxyType({}))


class LogFormat(StrEnum):
    """What `--log-format` takes."""

    TEXT = "text"
    JSON = "json"


@contextmanager
def about(**fields: str) -> Iterator[None]:
    """Let every line of the block, and of the tasks that begin in it, say what it is about; see `FIELDS`."""
    token = _ABOUT.set({**_ABOUT.get(), **fields})
    try:
        yield
    finally:
        _ABOUT.reset(token)


def always_about(**fields: str) -> None:
    """Let every line from here on say what it is about, in this task and in those that it begins."""
    _ABOUT.set({**_ABOUT.get(), **fields})


def write_log(how: LogFormat, text: logging.Formatter, *, stream: TextIO | None = None) -> None:
    """Send every line of this process to `stream` (standard error), formatted by `text` or as JSON."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if how is LogFormat.JSON else text)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    if how is LogFormat.JSON:
        # Both would otherwise go past the handler, as lines that are no JSON.
        logging.captureWarnings(capture=True)
        sys.excepthook = _log_uncaught


def last_words(error: BaseException) -> None:
    """Say, in the form of the log, of which error this process ends."""
    if any(isinstance(handler.formatter, JsonLines) for handler in logging.getLogger().handlers):
        log.error("%s", error)
    else:
        sys.stderr.write(f"error: {error}\n")


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    log.critical("internal error: %s", error, exc_info=(kind, error, trace))


class JsonLines(logging.Formatter):
    """A record as one line of JSON: time, level, logger, message, what it is about, and the error."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, without a newline inside."""
        line: dict[str, str] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        here = _ABOUT.get()
        for name in FIELDS:
            if (value := getattr(record, name, None) or here.get(name)) is not None:
                line[name] = str(value)
        return json.dumps(line | self._error_of(record), ensure_ascii=False)

    def _error_of(self, record: logging.LogRecord) -> dict[str, str]:
        raised = record.exc_info[1] if record.exc_info else None
        arguments = record.args if isinstance(record.args, tuple) else ()
        error = raised or next((one for one in arguments if isinstance(one, BaseException)), None)
        if error is None:
            return {}
        found = {"error": f"{type(error).__name__}: {error}"}
        return found | ({"traceback": self.formatException(record.exc_info)} if raised and record.exc_info else {})
