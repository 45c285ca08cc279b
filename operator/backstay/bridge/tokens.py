"""Tokens of devices and of gateways, computed from the tenant's key so that nothing secret is stored for a device."""

import hmac
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

LONGEST_HEADER: Final = 256


class Scheme(StrEnum):
    """The two ways in which DDI clients name themselves."""

    TARGET = "TargetToken"
    GATEWAY = "GatewayToken"


@dataclass(frozen=True, slots=True)
class Credential:
    """What an `Authorization` header carries."""

    scheme: Scheme
    token: str


def target_token(key: bytes, device: str, generation: int) -> str:
    """The token that lets in one device, until its generation is raised: 64 hexadecimal digits."""
    return _mac(key, f"{device}\n{generation}")


def gateway_token(key: bytes, gateway: str) -> str:
    """The token that lets in every device of one gateway."""
    # A slash cannot stand in a device's name, so that no device's token is ever a gateway's.
    return _mac(key, f"gateway/{gateway}")


def parse_authorization(header: str | None) -> Credential | None:
    """Read an `Authorization` header; None for one that DDI does not know."""
    if not header or len(header) > LONGEST_HEADER:
        return None
    scheme, _, token = header.strip().partition(" ")
    found, token = _SCHEMES.get(scheme.lower()), token.strip()
    return Credential(found, token) if found and token else None


_SCHEMES: Final = {scheme.lower(): scheme for scheme in Scheme}


def admits(credential: Credential, key: bytes, *, device: str, generation: int, gateway: str) -> bool:
    """Tell whether the credential lets in this device at this gateway; takes equally long for every wrong token."""
    match credential.scheme:
        case Scheme.TARGET:
            expected = target_token(key, device, generation)
        case Scheme.GATEWAY:
            expected = gateway_token(key, gateway)
    return hmac.compare_digest(expected.encode(), credential.token.encode(errors="surrogateescape"))


def _mac(key: bytes, text: str) -> str:
    return hmac.digest(key, text.encode(), "sha256").hex()
