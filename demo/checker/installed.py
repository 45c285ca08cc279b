"""What a platform team has: what helm made, what is committed, and what the page and its pictures show."""

import html
import os
import re
import struct
import subprocess
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SECONDS: Final = 10.0
PNG: Final = b"\x89PNG\r\n\x1a\n"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, as far as it can be told from its bytes that something is on it."""

    taken: float
    """When its file was written, in seconds since 1970."""
    width: int
    height: int
    drawn: int
    """How many bytes its pixels take when compressed: next to none where all is of one colour."""


@dataclass(frozen=True, slots=True)
class Installed:
    """All of it at the end of the act."""

    image: str
    """The digest that was pushed."""
    holder: str
    """Who has the operator's Lease."""
    deployment: Json
    pods: list[Json]
    """All in the operator's namespace."""
    commit: str
    """The subject of the newest commit that was pushed."""
    committed: Json
    """The plan in it."""
    shown: dict[str, str]
    """For each ring that the page shows, `confirmed/target`."""
    pictures: dict[str, Picture | None]
    """None where there is no file, or it is no picture."""


def committed(repository: Path, file: str) -> tuple[str, str]:
    """The subject of the newest commit, and the file in it; empty where there is none."""
    return _git(repository, "log", "-1", "--format=%s").strip(), _git(repository, "show", f"HEAD:{file}")


def rings_shown(page: str) -> dict[str, str]:
    """The figures of each row of the page's table of rings."""
    rows = re.findall(r'<th scope="row">(.*?)</th>.*?<td data-label="confirmed"[^>]*>(.*?)</td>', page, re.DOTALL)
    return {_text(name).split()[0]: _text(figures).replace(" ", "") for name, figures in rows}


def read_picture(file: Path) -> Picture | None:
    """Read a PNG file; None where it is none that is whole.

    Source: https://www.w3.org/TR/png-3/ (sections 5.2 and 11.2)
    """
    try:
        data, taken = file.read_bytes(), file.stat().st_mtime
    except OSError:
        return None
    if not data.startswith(PNG):
        return None
    try:
        chunks = list(_chunks(data[len(PNG) :]))
        (width, height) = struct.unpack(">II", chunks[0][1][:8])
        pixels = b"".join(body for kind, body in chunks if kind == b"IDAT")
        zlib.decompress(pixels)
    except (struct.error, zlib.error, IndexError):
        return None
    return Picture(taken, width, height, len(pixels))


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 0
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += size + 12
    return found


def _git(repository: Path, *words: str) -> str:
    command = ("git", "-C", str(repository), *words)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, env=environment)
    return done.stdout


def _text(markup: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", " ", markup)).strip()
