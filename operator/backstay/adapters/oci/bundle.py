"""A Sigstore bundle's bytes in, the signature that it holds out; nothing is fetched here, and nothing is believed yet.

What cosign writes for a key pair is a DSSE envelope around an in-toto statement that names the artifact; `cosign
sign-blob` over the manifest's own bytes writes a message signature. Certificates, log entries and time stamps in a
bundle are not looked at: what counts is that one of the installed keys made the signature.

Source: https://github.com/sigstore/protobuf-specs/blob/v0.5.0/protos/sigstore_bundle.proto,
https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md,
https://github.com/in-toto/attestation/blob/v1.1.2/spec/v1/statement.md
"""

import hashlib
from typing import Final

from backstay.adapters.oci.manifest import is_digest, parsed
from backstay.adapters.oci.signature import SIGN_AGAIN, Signature, decoded
from backstay.ports.registry import ArtifactMalformed

BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
IN_TOTO: Final = "application/vnd.in-toto+json"
STATEMENT: Final = "https://in-toto.io/Statement/v1"
SIGNED_BY_COSIGN: Final = "https://sigstore.dev/cosign/sign/v1"

_SHA256_BYTES: Final = 32


def signature_in(data: bytes, where: str) -> Signature | None:
    """The signature in a bundle, or None if the bundle attests something else of its artifact, such as its origin.

    Raises:
        ArtifactMalformed: it is not a bundle of the version that cosign writes.
    """
    match parsed(data, where, SIGN_AGAIN):
        case {"mediaType": media_type} if media_type != BUNDLE:
            raise _malformed(where, f"is not of the media type {BUNDLE}")
        case {"dsseEnvelope": _, "messageSignature": _}:
            raise _malformed(where, "holds two kinds of content")
        case {"mediaType": _, "dsseEnvelope": envelope}:
            return _signature_of_statement(envelope, where)
        case {"mediaType": _, "messageSignature": message}:
            return _signature_of_bytes(message, where)
        case _:
            raise _malformed(where, "has no media type, or neither a DSSE envelope nor a message signature")


def signed_bytes(payload_type: str, payload: bytes) -> bytes:
    """What a DSSE signature is made over: type and payload, each behind its length."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _signature_of_statement(envelope: object, where: str) -> Signature | None:
    match envelope:
        case {"payloadType": payload_type, "payload": text, "signatures": [{"sig": value}]} if payload_type == IN_TOTO:
            payload = decoded(text, f"the payload of {where}")
        case _:
            raise _malformed(where, f"is not an envelope of the type {IN_TOTO} with one signature")
    if (about := _subjects(payload, where)) is None:
        return None
    signed = hashlib.sha256(signed_bytes(IN_TOTO, payload)).digest()
    return Signature(decoded(value, f"the signature in {where}"), signed, about)


def _subjects(payload: bytes, where: str) -> frozenset[str] | None:
    """The digests that a statement is about; None if it says something else of them than cosign's `sign`."""
    match parsed(payload, f"the statement in {where}", SIGN_AGAIN):
        # Whoever attests what an artifact consists of, or where it comes from, does not thereby release it.
        case {"predicateType": str(predicate)} if predicate != SIGNED_BY_COSIGN:
            return None
        case {"_type": kind, "predicateType": predicate, "subject": list(subjects)} if (
            kind == STATEMENT and predicate == SIGNED_BY_COSIGN
        ):
            return frozenset(_digest(subject, where) for subject in subjects)
        case _:
            raise _malformed(where, f"holds something else than a statement {STATEMENT} about subjects")


def _digest(subject: object, where: str) -> str:
    match subject:
        case {"digest": {"sha256": str(digest)}} if is_digest(f"sha256:{digest}"):
            return f"sha256:{digest}"
        case _:
            raise _malformed(where, "names a subject without its SHA-256")


def _signature_of_bytes(message: object, where: str) -> Signature:
    match message:
        case {"messageDigest": {"algorithm": "SHA2_256", "digest": text}, "signature": value}:
            digest = decoded(text, f"the digest in {where}")
        case _:
            raise _malformed(where, "holds no message signature over a SHA-256")
    if len(digest) != _SHA256_BYTES:
        raise _malformed(where, f"names a SHA-256 of {len(digest)} bytes")
    # The message is the manifest itself, so what was signed and what it is about are the same digest.
    return Signature(decoded(value, f"the signature in {where}"), digest, frozenset({f"sha256:{digest.hex()}"}))


def _malformed(where: str, what: str) -> ArtifactMalformed:
    return ArtifactMalformed(f"{where} {what}; {SIGN_AGAIN}")
