"""Promise 14 over everything that a registry may hold: what was not signed exactly so is refused, and by its name."""

import base64
import copy
import hashlib
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import assume, given
from hypothesis import strategies as st

from backstay.adapters.oci.bundle import BUNDLE, IN_TOTO, SIGNED_BY_COSIGN, STATEMENT, signature_in, signed_bytes
from backstay.adapters.oci.verify import judged
from backstay.ports.registry import ArtifactMalformed, ManifestDigest, Reference, Repository
from backstay.ports.verify import Verified

Json = dict[str, Any]

KEY = ec.generate_private_key(ec.SECP256R1())
STRANGER = ec.generate_private_key(ec.SECP256R1())
KEYS = {"release.pub": KEY.public_key()}
REPOSITORY = Repository("registry.example", "vision/model")


def named(number: int) -> Reference:
    return Reference(REPOSITORY, ManifestDigest(f"sha256:{hashlib.sha256(bytes([number])).hexdigest()}"))


WANTED, OTHER = named(1), named(2)


def statement(reference: Reference, **changes: Any) -> bytes:
    subject = [{"digest": {"sha256": reference.digest.removeprefix("sha256:")}}]
    return orjson.dumps({"_type": STATEMENT, "subject": subject, "predicateType": SIGNED_BY_COSIGN} | changes)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def bundle(payload: bytes, key: ec.EllipticCurvePrivateKey = KEY) -> Json:
    """As cosign writes it; that it does is shown by the contract suite, with the real one."""
    signature = key.sign(signed_bytes(IN_TOTO, payload), ec.ECDSA(SHA256()))
    envelope = {"payload": encoded(payload), "payloadType": IN_TOTO, "signatures": [{"sig": encoded(signature)}]}
    return {
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": encoded(bytes(32))}},
        "dsseEnvelope": envelope,
    }


GOOD = bundle(statement(WANTED))
GOOD_BYTES = orjson.dumps(GOOD)


def is_trusted(data: bytes, reference: Reference = WANTED) -> bool:
    """The verdict on a bundle; no other error than the named one may come out."""
    try:
        signature = signature_in(data, "the bundle")
    except ArtifactMalformed:
        return False
    return signature is not None and isinstance(judged(signature, KEYS, reference), Verified)


def what_was_signed(data: bytes) -> tuple[str, bytes]:
    envelope = orjson.loads(data)["dsseEnvelope"]
    return envelope["payloadType"], base64.b64decode(envelope["payload"])


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary().map(encoded),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in a document, the document itself included."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for name, child in inner for place in places(child, (*path, name)))]


def with_replaced(document: Json, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    changed: Any = copy.deepcopy(document)
    at = changed
    for name in place[:-1]:
        at = at[name]
    at[place[-1]] = value
    return changed


def test_signed_bundle_is_trusted() -> None:
    assert is_trusted(GOOD_BYTES)
    assert not is_trusted(GOOD_BYTES, OTHER)


@given(st.binary(max_size=512) | anything.map(orjson.dumps))
def test_nothing_made_up_is_trusted(data: bytes) -> None:
    assert not is_trusted(data)


@given(st.integers(0, len(GOOD_BYTES) - 1), st.integers(0, 3), st.binary(max_size=3))
def test_whatever_bytes_are_altered_only_what_was_signed_is_trusted(at: int, cut: int, put: bytes) -> None:
    altered = GOOD_BYTES[:at] + put + GOOD_BYTES[at + cut :]
    if is_trusted(altered):
        assert what_was_signed(altered) == (IN_TOTO, statement(WANTED))


@given(st.sampled_from(places(GOOD)), anything)
def test_whatever_value_is_altered_only_what_was_signed_is_trusted(place: tuple[Any, ...], value: Any) -> None:
    altered = orjson.dumps(with_replaced(GOOD, place, value))
    if is_trusted(altered):
        assert what_was_signed(altered) == (IN_TOTO, statement(WANTED))


@given(st.binary(max_size=256) | anything.map(orjson.dumps) | st.just(statement(WANTED, _type="https://other.example")))
def test_another_statement_under_the_same_signature_is_never_trusted(payload: bytes) -> None:
    assume(payload != statement(WANTED))
    altered = with_replaced(GOOD, ("dsseEnvelope", "payload"), encoded(payload))
    assert not is_trusted(orjson.dumps(altered))


@given(st.binary(max_size=80))
def test_the_same_statement_under_another_signature_is_never_trusted(value: bytes) -> None:
    altered = with_replaced(GOOD, ("dsseEnvelope", "signatures", 0, "sig"), encoded(value))
    assert not is_trusted(orjson.dumps(altered))


@given(anything.filter(lambda kind: kind != IN_TOTO))
def test_another_payload_type_is_never_trusted(kind: Any) -> None:
    assert not is_trusted(orjson.dumps(with_replaced(GOOD, ("dsseEnvelope", "payloadType"), kind)))


@given(st.lists(st.integers(3, 99).map(named), max_size=4))
def test_replayed_signature_of_other_artifacts_is_never_trusted(others: list[Reference]) -> None:
    subjects = [{"digest": {"sha256": other.digest.removeprefix("sha256:")}} for other in others]
    assert not is_trusted(orjson.dumps(bundle(statement(WANTED, subject=subjects))))


@given(anything.filter(lambda kind: kind != SIGNED_BY_COSIGN))
def test_attestation_of_something_else_is_never_trusted(predicate: Any) -> None:
    # Signed by the trusted key, about the right artifact; but it does not say that the artifact may be used.
    assert not is_trusted(orjson.dumps(bundle(statement(WANTED, predicateType=predicate))))


@given(anything.map(orjson.dumps) | st.binary(max_size=128))
def test_whatever_a_trusted_key_has_signed_names_the_artifact_where_it_is_trusted(payload: bytes) -> None:
    assert not is_trusted(orjson.dumps(bundle(payload)))


@given(st.sampled_from([statement(WANTED), statement(OTHER), b"{}"]))
def test_foreign_signature_is_never_trusted(payload: bytes) -> None:
    assert not is_trusted(orjson.dumps(bundle(payload, STRANGER)))


@given(st.binary(max_size=48), st.binary(max_size=80))
def test_message_signature_is_trusted_only_over_the_manifest_itself(digest: bytes, value: bytes) -> None:
    message = {"messageDigest": {"algorithm": "SHA2_256", "digest": encoded(digest)}, "signature": encoded(value)}
    assert not is_trusted(orjson.dumps({"mediaType": BUNDLE, "messageSignature": message}))


@given(st.integers(1, 200))
def test_deep_nesting_is_refused_by_name(depth: int) -> None:
    assert not is_trusted(b'{"mediaType":' * (depth * 16) + b"1" + b"}" * (depth * 16))
