"""Bundles as cosign 2.6.5 wrote them (`vectors/`), and what is wrong with others."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from backstay.adapters.oci.bundle import signature_in, signed_bytes
from backstay.adapters.oci.public_keys import load_keys, signer
from backstay.ports.registry import ArtifactMalformed

VECTORS = Path(__file__).parent / "vectors"
ENVELOPE = (VECTORS / "bundle.json").read_bytes()
OF_BYTES = (VECTORS / "bundle-of-bytes.json").read_bytes()
BYTES = b"hi\n"
"""What the second of them signs."""


def test_bundle_names_artifact_and_signer_when_cosign_wrote_it() -> None:
    signature = signature_in(ENVELOPE, "it")
    assert signature is not None
    assert signature.about == {"sha256:6eb51eb52b892327e30afc9f342472b038c2271aad530cc8eb13c3ead9ad7aca"}
    assert signer(load_keys(VECTORS), signature) == "cosign.pub"


def test_bundle_names_artifact_and_signer_when_cosign_signed_bytes() -> None:
    signature = signature_in(OF_BYTES, "it")
    assert signature is not None
    assert signature.about == {f"sha256:{hashlib.sha256(BYTES).hexdigest()}"}
    assert signer(load_keys(VECTORS), signature) == "cosign.pub"


def test_signed_bytes_are_those_of_the_specification() -> None:
    signed = signed_bytes("http://example.com/HelloWorld", b"hello world")
    assert signed == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def envelope(**changes: Any) -> dict[str, Any]:
    return {"dsseEnvelope": json.loads(ENVELOPE)["dsseEnvelope"] | changes}


def statement(**changes: Any) -> dict[str, Any]:
    payload = json.loads(base64.b64decode(json.loads(ENVELOPE)["dsseEnvelope"]["payload"])) | changes
    return envelope(payload=base64.b64encode(json.dumps(payload).encode()).decode())


def of_bytes(**changes: Any) -> dict[str, Any]:
    return {"messageSignature": json.loads(OF_BYTES)["messageSignature"] | changes}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.1"}, "is not of the media type"),
        ({"mediaType": 3}, "is not of the media type"),
        (of_bytes(), "holds two kinds of content"),
        ({"dsseEnvelope": None}, "is not an envelope"),
        (envelope(payloadType="text/plain"), "is not an envelope"),
        (envelope(signatures=[]), "with one signature"),
        (envelope(signatures=[{"sig": ""}, {"sig": ""}]), "with one signature"),
        (envelope(payload="é"), "the payload of it is not base64"),
        (envelope(payload=7), "the payload of it is not a text"),
        (envelope(payload="bm90aGluZw=="), "the statement in it is not JSON"),
        (envelope(signatures=[{"sig": "!"}]), "the signature in it is not base64"),
        (statement(_type="https://in-toto.io/Statement/v0.1"), "something else than a statement"),
        (statement(subject={}), "something else than a statement"),
        (statement(predicateType=None), "something else than a statement"),
        (statement(subject=[{"digest": {"sha512": "00"}}]), "a subject without its SHA-256"),
        (statement(subject=[{"digest": {"sha256": "../x"}}]), "a subject without its SHA-256"),
    ],
)
def test_bundle_is_refused_by_name_when_it_is_malformed(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(ArtifactMalformed, match=rf"{what}.*; sign the artifact again with `cosign sign --key …`"):
        signature_in(json.dumps(json.loads(ENVELOPE) | changes).encode(), "it")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        (of_bytes(messageDigest={"algorithm": "SHA2_512", "digest": ""}), "no message signature over a SHA-256"),
        (of_bytes(messageDigest={"algorithm": "SHA2_256", "digest": "AAAA"}), "a SHA-256 of 3 bytes"),
        ({"messageSignature": []}, "no message signature"),
    ],
)
def test_message_signature_is_refused_by_name_when_it_is_malformed(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(ArtifactMalformed, match=what):
        signature_in(json.dumps(json.loads(OF_BYTES) | changes).encode(), "it")


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b'{"mediaType": "x"', b'{"dsseEnvelope": {}}'])
def test_bundle_is_refused_by_name_when_it_is_something_else(data: bytes) -> None:
    with pytest.raises(ArtifactMalformed):
        signature_in(data, "it")


def test_bundle_holds_no_signature_when_it_attests_something_else() -> None:
    attestation = json.loads(ENVELOPE) | statement(predicateType="https://slsa.dev/provenance/v1")
    assert signature_in(json.dumps(attestation).encode(), "it") is None
