"""Range and conditional requests on one file, with one range.

Source: RFC 9110, sections 13.1 (If-Match, If-None-Match, If-Range) and 14 (Range)
"""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

LONGEST_HEADER: Final = 128

_ONE_RANGE: Final = re.compile(r"bytes[ \t]*=[ \t]*([0-9]{0,18})[ \t]*-[ \t]*([0-9]{0,18})[ \t]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes `first` to `last`, both included, of a file of `size` bytes."""

    first: int
    last: int
    size: int

    @property
    def length(self) -> int:
        """How many bytes these are."""
        return self.last - self.first + 1

    @property
    def content_range(self) -> str:
        """The value of Content-Range."""
        return f"bytes {self.first}-{self.last}/{self.size}"


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """The range has no byte of the file."""

    size: int

    @property
    def content_range(self) -> str:
        """The value of Content-Range."""
        return f"bytes */{self.size}"


def condition_of(etag: str, wanted: str | None, known: str | None) -> HTTPStatus | None:
    """The status that ends a request because of what the device has already, or thinks it has; None to go on.

    `wanted` is If-Match, `known` is If-None-Match.
    """
    if wanted is not None and etag not in _tags(wanted) and "*" not in _tags(wanted):
        return HTTPStatus.PRECONDITION_FAILED
    return HTTPStatus.NOT_MODIFIED if known is not None and is_known(etag, known) else None


def is_known(etag: str, known: str) -> bool:
    """Whether an If-None-Match names this content."""
    return etag in _tags(known.replace("W/", "")) or "*" in _tags(known)


def _tags(header: str) -> list[str]:
    return [tag.strip() for tag in header.split(",")]


def part_of(size: int, etag: str, range_header: str | None, if_range: str | None) -> Part | Unsatisfiable | None:
    """The part that is asked for; None for all of it, also where the header is not one that we have to understand.

    A range that ends behind the file is cut at its end. With If-Range, a part is given of the very same content only.
    """
    if range_header is None or len(range_header) > LONGEST_HEADER or (if_range is not None and if_range != etag):
        return None
    if not (found := _ONE_RANGE.fullmatch(range_header)):
        return None
    first, last = found[1], found[2]
    if not first:
        return _suffix(int(last), size) if last else None
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        return Unsatisfiable(size)
    return Part(int(first), min(int(last), size - 1) if last else size - 1, size)


def _suffix(length: int, size: int) -> Part | Unsatisfiable:
    return Part(max(0, size - length), size - 1, size) if length > 0 and size > 0 else Unsatisfiable(size)
