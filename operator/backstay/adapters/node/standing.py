"""What a plane's place is to hold, on disk before the place changes: what runs then, and what it goes back to.

Two standings are kept: the one that a change leads to and the one that it came from. Which of them is so tells the
place itself, by the digest of what is in it; a standing that does not agree with the place is not believed. So the one
rename of the change in its place decides, wherever the power went.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backstay.adapters.node.durable import write_file
from backstay.core.planes import ContentDigest


@dataclass(frozen=True, slots=True)
class Standing:
    """What one plane holds, by digests."""

    running: ContentDigest | None = None
    fallback: ContentDigest | None = None
    on_trial: int | None = None
    """The number of the step that brought what runs, until it is confirmed."""


class StandingRecord:
    """Keeps the standing that a change leads to and the one that it came from, in one file."""

    def __init__(self, path: Path) -> None:
        """Use the file `path`."""
        self._path = path

    def write(self, now: Standing, before: Standing | None = None) -> None:
        """Put down a change, before it is made in its place.

        Raises:
            OSError: the disk did not take it; the record is as before.
        """
        standings = [_to_record(standing) for standing in (now, before) if standing is not None]
        write_file(self._path, json.dumps(standings).encode())

    def standing(self, running: ContentDigest | None) -> Standing:
        """The newest standing that agrees with what is in the place."""
        return next((one for one in self.read() if one.running == running), Standing(running))

    def read(self) -> tuple[Standing, ...]:
        """Both standings, the newer one first; a record that cannot be read says nothing."""
        try:
            return tuple(_from_record(record) for record in json.loads(self._path.read_bytes()))
        except (OSError, ValueError, KeyError, TypeError):
            return ()


def _to_record(standing: Standing) -> dict[str, Any]:
    return {"running": standing.running, "fallback": standing.fallback, "onTrial": standing.on_trial}


def _from_record(record: Mapping[str, Any]) -> Standing:
    running, fallback, on_trial = (record[name] for name in ("running", "fallback", "onTrial"))
    return Standing(_digest(running), _digest(fallback), None if on_trial is None else int(on_trial))


def _digest(text: str | None) -> ContentDigest | None:
    return None if text is None else ContentDigest(str(text))
