"""The tenant's key, from its Secret; read again every minute, so that a rotation needs no restart."""

import asyncio
import base64
import binascii
import logging
from typing import Final

from backstay.adapters.kube.client import SECRETS, Json, KubeClient
from backstay.errors import BackstayError, Refused

SECRET: Final = "backstay-tenant-key"  # noqa: S105 - the name of the Secret, not what is in it
FIELD: Final = "key"
READ_EVERY_SECONDS: Final = 60.0
LEAST_BYTES: Final = 16

log = logging.getLogger(__name__)


class BadTenantKey(Refused):
    """The Secret holds no usable key."""


class TenantKey:
    """The key that device tokens are computed from."""

    def __init__(self, client: KubeClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self.value = b""

    async def read(self) -> None:
        """Read the key.

        Raises:
            BadTenantKey: the Secret is there, but not its key.
            BackstayError: the Secret cannot be read.
        """
        found = key_from(await self._client.get(SECRETS, SECRET, self._namespace), self._namespace)
        if self.value and found != self.value:
            log.warning("the tenant's key has changed: devices need tokens of the new one")
        self.value = found

    async def run(self) -> None:
        """Read the key again and again until cancelled; while it cannot be read, the last one stays valid."""
        while True:
            await asyncio.sleep(READ_EVERY_SECONDS)
            try:
                await self.read()
            except BackstayError as error:
                log.warning("the tenant's key cannot be read again; the last one stays valid: %s", error)


def key_from(secret: Json, namespace: str) -> bytes:
    """The key in a Secret's JSON.

    Raises:
        BadTenantKey: it is missing, not base64, or too short to be one.
    """
    text = (secret.get("data") or {}).get(FIELD, "")
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadTenantKey(f"the Secret {namespace}/{SECRET} has a {FIELD} that is not base64: {error}") from error
    if len(key) < LEAST_BYTES:
        raise BadTenantKey(
            f"the Secret {namespace}/{SECRET} needs a {FIELD} of at least {LEAST_BYTES} random bytes; it has {len(key)}"
        )
    return key
