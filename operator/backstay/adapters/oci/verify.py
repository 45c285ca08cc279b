"""Signatures as cosign makes them with a key pair, in either of its forms; one by one trusted key is enough."""

from collections.abc import Sequence
from typing import Final

from backstay.adapters.oci.bundle_form import BundleForm
from backstay.adapters.oci.public_keys import Keys, signer
from backstay.adapters.oci.signature import Signature, SignatureForm
from backstay.adapters.oci.tag_form import TagForm
from backstay.adapters.oci.transport import Transport
from backstay.ports.registry import (
    ArtifactAltered,
    ArtifactDescription,
    ArtifactMalformed,
    ArtifactMissing,
    Reference,
    Registry,
)
from backstay.ports.verify import NotConfigured, Unverified, UnverifiedReason, Verdict, Verified, Verifier

# Of several signatures that do not count, the one that tells most about what happened is named.
MOST_TELLING: Final = (
    UnverifiedReason.SIGNATURE_OF_ANOTHER,
    UnverifiedReason.SIGNATURE_MALFORMED,
    UnverifiedReason.SIGNATURE_NOT_TRUSTED,
)
NAMED: Final = 3


def verifier_with(keys: Keys, transport: Transport, registry: Registry) -> Verifier:
    """The verifier for these keys: without any, the one that says that nothing is checked."""
    if not keys:
        return NoKeysVerifier()
    return CosignVerifier(keys, (TagForm(transport, registry), BundleForm(transport, registry)))


class NoKeysVerifier:
    """Checks nothing and says so; fulfils `backstay.ports.verify.Verifier`."""

    async def verify(self, artifact: ArtifactDescription) -> Verdict:  # noqa: ARG002  the port's signature
        """Tell that no key is installed."""
        return NotConfigured()


class CosignVerifier:
    """Accepts what one of the keys signed; fulfils `backstay.ports.verify.Verifier`."""

    def __init__(self, keys: Keys, forms: Sequence[SignatureForm]) -> None:
        """Trust any of `keys`, in any of `forms`, which are asked one after the other."""
        self._keys = keys
        self._forms = forms

    async def verify(self, artifact: ArtifactDescription) -> Verdict:
        """Judge the artifact by the digest that the plan names, which covers the manifest of each class."""
        refused: list[Unverified] = []
        for form in self._forms:
            if trusted := await self._trusted(form, artifact.reference, refused):
                return trusted
        return _together(artifact.reference, refused)

    async def _trusted(self, form: SignatureForm, reference: Reference, refused: list[Unverified]) -> Verified | None:
        """The first signature in this form that counts; those before it that do not are added to `refused`."""
        try:
            entries = await form.find(reference)
        except (ArtifactMalformed, ArtifactAltered) as error:
            refused.append(_malformed(error))
            return None
        for entry in entries:
            match await self._verdict(form, reference, entry):
                case Verified() as trusted:
                    return trusted
                case Unverified() as refusal:
                    refused.append(refusal)
                case None:
                    continue
        return None

    async def _verdict(self, form: SignatureForm, reference: Reference, entry: object) -> Verified | Unverified | None:
        # What is wrong with one signature says nothing of the next: anybody who may push can add one.
        try:
            signature = await form.read(reference, entry)
        except (ArtifactMissing, ArtifactMalformed, ArtifactAltered) as error:
            return _malformed(error)
        return judged(signature, self._keys, reference) if signature else None


def judged(signature: Signature, keys: Keys, reference: Reference) -> Verified | Unverified:
    """Whether a signature vouches for an artifact: one of the keys made it, and over a text that names the artifact."""
    key = signer(keys, signature)
    if key is None:
        detail = f"none of {', '.join(sorted(keys))} has signed what it holds: another key has, or it was altered since"
        return Unverified(UnverifiedReason.SIGNATURE_NOT_TRUSTED, detail)
    if reference.digest not in signature.about:
        detail = f"{key} has signed it for another artifact: {', '.join(sorted(signature.about)[:NAMED]) or 'none'}"
        return Unverified(UnverifiedReason.SIGNATURE_OF_ANOTHER, detail)
    return Verified(key)


def _malformed(error: Exception) -> Unverified:
    return Unverified(UnverifiedReason.SIGNATURE_MALFORMED, str(error))


def _together(reference: Reference, refused: Sequence[Unverified]) -> Unverified:
    if not refused:
        detail = f"{reference} has no signature: sign it with `cosign sign --key …`"
        return Unverified(UnverifiedReason.SIGNATURE_NOT_FOUND, detail)
    told = min(refused, key=lambda refusal: MOST_TELLING.index(refusal.reason))
    which = "its signature does" if len(refused) == 1 else f"its {len(refused)} signatures do"
    return Unverified(told.reason, f"{reference} cannot be trusted, {which} not count: {told.detail}")
