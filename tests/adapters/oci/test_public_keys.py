"""Directories of public keys, right ones and wrong ones."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from backstay.adapters.oci.public_keys import KeyUnreadable, load_keys


def test_load_keys_names_the_file_when_it_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("not looked at")
    (tmp_path / "broken.pem").write_text("not a key")
    with pytest.raises(KeyUnreadable, match=r"broken\.pem is not a public key"):
        load_keys(tmp_path)


def test_load_keys_names_the_file_when_the_key_is_of_another_kind(tmp_path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    (tmp_path / "odd.pem").write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(KeyUnreadable, match=r"odd\.pem holds a key of another kind"):
        load_keys(tmp_path)


def test_load_keys_names_the_directory_when_it_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KeyUnreadable, match="nowhere"):
        load_keys(tmp_path / "nowhere")
