"""The public keys that an admin trusts: PEM files in a directory, known by their names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from backstay.adapters.oci.signature import Signature
from backstay.errors import Refused

KEY_SUFFIXES: Final = frozenset({".pem", ".pub"})

Keys = Mapping[str, EllipticCurvePublicKey]


class KeyUnreadable(Refused):
    """A file or directory of public keys cannot be used; starting without it would check less than was asked for."""


def load_keys(directory: Path) -> Keys:
    """Read the public keys (`*.pem`, `*.pub`) of a directory, by file name; blocking, for the start of a process.

    Raises:
        KeyUnreadable: the directory is not there, or a file in it is not an ECDSA public key.
    """
    try:
        files = sorted(path for path in directory.iterdir() if path.suffix in KEY_SUFFIXES)
        return {path.name: _load_key(path, path.read_bytes()) for path in files}
    except OSError as error:
        msg = f"the public keys in {directory} cannot be read: {error}; correct the path or its permissions"
        raise KeyUnreadable(msg) from error


def signer(keys: Keys, signature: Signature) -> str | None:
    """The name of the key that made this signature, or None if it is none of these."""
    return next((name for name, key in keys.items() if _made(key, signature)), None)


def _load_key(path: Path, pem: bytes) -> EllipticCurvePublicKey:
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        msg = f"{path} is not a public key in PEM form: {error}; export it with `cosign public-key`, or remove the file"
        raise KeyUnreadable(msg) from error
    if not isinstance(key, EllipticCurvePublicKey):
        msg = f"{path} holds a key of another kind than ECDSA, as cosign makes; replace or remove the file"
        raise KeyUnreadable(msg)
    return key


def _made(key: EllipticCurvePublicKey, signature: Signature) -> bool:
    try:
        key.verify(signature.value, signature.signed_sha256, ECDSA(Prehashed(SHA256())))
    except InvalidSignature:
        return False
    return True
