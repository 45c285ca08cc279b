"""The one secret by which Alertmanager shows that it is Alertmanager, read anew soon after its file has changed.

Requests are judged by what is in memory: whoever has no token must not be able to make the operator wait for a disk.

Source: RFC 6750, section 2.1
"""

import asyncio
import hmac
import logging
from pathlib import Path
from typing import Final

from backstay.errors import Refused

LEAST_BYTES: Final = 16
MOST_BYTES: Final = 4096
LOOK_EVERY_SECONDS: Final = 1.0

_SCHEME: Final = "bearer"

log = logging.getLogger(__name__)


class TokenFile:
    """A token in a file, as a mounted Secret has it."""

    def __init__(self, path: Path) -> None:
        """Read it; blocking, for the start.

        Raises:
            Refused: it cannot be read, or is too short to be a secret.
        """
        self._path = path
        self._seen = self._stat()
        self._problem = ""
        self._token = self._read()

    def admits(self, headers: list[str]) -> bool:
        """Tell whether the `Authorization` headers of a request carry the token; the time it takes tells nothing."""
        if len(headers) != 1:
            return False
        scheme, _, credentials = headers[0].partition(" ")
        is_token = hmac.compare_digest(credentials.strip().encode(errors="surrogateescape"), self._token)
        return is_token and scheme.lower() == _SCHEME

    async def run(self) -> None:
        """Take up renewals until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            await asyncio.to_thread(self.take_up_changes)

    def take_up_changes(self) -> None:
        """Use the token that is in the file now; one that cannot be read leaves the last in force. Blocking."""
        try:
            if (seen := self._stat()) == self._seen:
                return
            self._token = self._read()
            self._seen = seen
        except Refused as error:
            if self._problem != str(error):
                log.warning("the renewed token is not taken up, the last one stays: %s", error)
            self._problem = str(error)
        else:
            self._problem = ""
            log.info("the token in %s was renewed", self._path)

    def _stat(self) -> tuple[int, int, int]:
        try:
            found = self._path.stat()
        except OSError as error:
            raise Refused(f"the token file {self._path} cannot be read: {error}") from error
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _read(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                token = file.read(MOST_BYTES + 1).strip()
        except OSError as error:
            raise Refused(f"the token file {self._path} cannot be read: {error}") from error
        if not LEAST_BYTES <= len(token) <= MOST_BYTES:
            raise Refused(
                f"the token in {self._path} has {len(token)} bytes, and must have {LEAST_BYTES} to {MOST_BYTES};"
                " make one with: head -c 32 /dev/urandom | base64"
            )
        return token
