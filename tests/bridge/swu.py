"""Images as SWUpdate takes them: a cpio archive that begins with a signed description.

Source: https://sbabic.github.io/swupdate/swupdate.html and https://sbabic.github.io/swupdate/signed_images.html
"""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BOARD = "bench:1.0"
DESCRIPTION = """software =
{{
    version = "{version}";
    hardware-compatibility: ["1.0"];
    files: (
        {{ filename = "model.bin"; path = "{path}"; type = "rawfile"; sha256 = "{sha256}"; }}
    );
}}
"""


class Signer:
    """Signs descriptions; `certificate` is what the device trusts."""

    def __init__(self, directory: Path) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        now, name = datetime.now(UTC), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self._key.public_key())
        builder = builder.serial_number(1).not_valid_before(now - timedelta(hours=1))
        builder = builder.not_valid_after(now + timedelta(hours=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        self._certificate = builder.add_extension(usage, critical=False).sign(self._key, hashes.SHA256())
        self.certificate = directory / "swupdate.pem"
        self.certificate.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def image(self, version: str, payload: bytes, installed: Path) -> bytes:
        """An image that puts `payload` where `installed` says."""
        description = DESCRIPTION.format(
            version=version, path=installed, sha256=hashlib.sha256(payload).hexdigest()
        ).encode()
        builder = pkcs7.PKCS7SignatureBuilder().set_data(description)
        builder = builder.add_signer(self._certificate, self._key, hashes.SHA256())
        options = [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary]
        signature = builder.sign(serialization.Encoding.DER, options)
        files = (("sw-description", description), ("sw-description.sig", signature), ("model.bin", payload))
        return b"".join(_entry(name, data, index) for index, (name, data) in enumerate(files, 1)) + _trailer()


def _entry(name: str, data: bytes, inode: int) -> bytes:
    """One member in cpio's `crc` format."""
    raw = name.encode() + b"\0"
    numbers = (inode, 0o100644, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), sum(data) & 0xFFFFFFFF)
    head = b"070702" + "".join(f"{number:08X}" for number in numbers).encode() + raw
    return _padded(head) + _padded(data)


def _trailer() -> bytes:
    return _entry("TRAILER!!!", b"", 0)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
