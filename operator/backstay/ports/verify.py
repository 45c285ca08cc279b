"""Whether a release is signed by someone whom the operator's admin trusts."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

from backstay.ports.registry import ArtifactDescription


class UnverifiedReason(StrEnum):
    """Why a signature does not count."""

    SIGNATURE_NOT_FOUND = "SignatureNotFound"
    SIGNATURE_MALFORMED = "SignatureMalformed"
    SIGNATURE_NOT_TRUSTED = "SignatureNotTrusted"
    SIGNATURE_OF_ANOTHER = "SignatureOfAnotherArtifact"


@dataclass(frozen=True, slots=True)
class Verified:
    """A trusted key signed exactly this artifact."""

    key: str
    """The name of the key's file."""

    def __str__(self) -> str:
        return f"signed by {self.key}"


@dataclass(frozen=True, slots=True)
class Unverified:
    """Keys are installed and none of them vouches for this artifact: it must not be installed."""

    reason: UnverifiedReason
    detail: str

    def __str__(self) -> str:
        return self.detail


@dataclass(frozen=True, slots=True)
class NotConfigured:
    """No key is installed, so nothing was checked; whoever goes on says so where people look."""

    def __str__(self) -> str:
        return "no public keys installed; signatures are not checked"


Verdict: TypeAlias = Verified | Unverified | NotConfigured


class Verifier(Protocol):
    """Checks an artifact's signature."""

    async def verify(self, artifact: ArtifactDescription) -> Verdict:
        """Judge one artifact; an unreachable registry is an error and never a verdict.

        Raises:
            RegistryUnavailable, RegistryForbidden
        """
        ...
