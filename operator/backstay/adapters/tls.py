"""A server's certificate from two files, also as Kubernetes mounts a Secret of type `kubernetes.io/tls`.

A renewed certificate is taken up while the server runs: handshakes from then on use it, connections that are open stay
as they are. What cannot be used is said so and not taken up, so that a half-written renewal closes no door.

Source: https://kubernetes.io/docs/concepts/configuration/secret/#tls-secrets
"""

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Final, Self

from backstay.errors import Refused

CERTIFICATE: Final = "tls.crt"
KEY: Final = "tls.key"
LOOK_EVERY_SECONDS: Final = 5.0

log = logging.getLogger(__name__)


class CertificateUnusable(Refused):
    """The certificate, its key, or the authority for clients' own certificates cannot be used."""


class Certificate:
    """What clients see of a server, and with `client_authority`, whom the server lets shake hands at all."""

    def __init__(self, certificate: Path, key: Path, client_authority: Path | None = None) -> None:
        """Load it for the first time; blocking, for the start.

        Raises:
            CertificateUnusable: a file is not there, or not what it should be.
        """
        self._certificate = certificate
        self._key = key
        self._client_authority = client_authority
        self.context: Final = self._loaded()
        self._seen = self._stamps()

    @classmethod
    def in_directory(cls, directory: Path, client_authority: Path | None = None) -> Self:
        """Load `tls.crt` and `tls.key` of a directory.

        Raises:
            CertificateUnusable: a file is not there, or not what it should be.
        """
        return cls(directory / CERTIFICATE, directory / KEY, client_authority)

    async def run(self) -> None:
        """Take up renewals until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            await asyncio.to_thread(self.take_up_changes)

    def take_up_changes(self) -> bool:
        """Use the files as they are now, if they have changed and can be used; tell whether they were taken up.

        A new authority for clients is added to those known so far; only a restart forgets an old one.
        """
        if (stamps := self._stamps()) == self._seen:
            return False
        self._seen = stamps
        try:
            # Into a context of its own first: the one in use must not be left with a certificate of another key.
            self._loaded()
            self._load_into(self.context)
        except CertificateUnusable as error:
            log.error("the renewed certificate is not taken up, the last one stays: %s", error)  # noqa: TRY400
            return False
        log.info("the certificate %s was renewed", self._certificate)
        return True

    def _loaded(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._load_into(context)
        return context

    def _load_into(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self._certificate, self._key)
        except (OSError, ssl.SSLError) as error:
            what = f"{self._certificate} and {self._key} are no usable certificate and key"
            msg = f"{what}: {error}; give a certificate and its own key"
            raise CertificateUnusable(msg) from error
        if self._client_authority is None:
            return
        try:
            context.load_verify_locations(self._client_authority)
        except (OSError, ssl.SSLError) as error:
            msg = f"{self._client_authority} holds no certificate of an authority in PEM form: {error}"
            raise CertificateUnusable(msg) from error
        context.verify_mode = ssl.CERT_REQUIRED

    def _stamps(self) -> tuple[tuple[int, int] | None, ...]:
        """What tells that a file is another one now; Kubernetes swaps a whole directory behind a link."""
        files = (self._certificate, self._key, self._client_authority)
        return tuple(_stamp(file) for file in files if file is not None)


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
