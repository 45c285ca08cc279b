"""The sandbox's own certificate authorities, made anew for every sandbox and thrown away with it."""

import datetime
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from backstay.sandbox.service_network import API_SERVICE

LIFETIME = datetime.timedelta(days=30)
CLOCK_SKEW = datetime.timedelta(minutes=5)

API_SERVER_NAMES = (
    "127.0.0.1",
    API_SERVICE,
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The files of one certificate and its private key."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority that signs into one directory."""

    directory: Path
    name: str
    private_key: ec.EllipticCurvePrivateKey
    root: x509.Certificate

    @classmethod
    def create(cls, directory: Path, name: str) -> "Authority":
        """Make a new authority; its certificate is `<name>.crt`, and its key never reaches the disk."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _subject(f"backstay sandbox {name}", ())
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        root = (
            _builder(subject, subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(key, hashes.SHA256())
        )
        authority = cls(directory=directory, name=name, private_key=key, root=root)
        _write(authority.certificate, root.public_bytes(serialization.Encoding.PEM))
        return authority

    @property
    def certificate(self) -> Path:
        """The file that clients trust."""
        return self.directory / f"{self.name}.crt"

    def issue(
        self,
        file_name: str,
        common_name: str,
        *,
        organizations: Sequence[str] = (),
        names: Sequence[str] = (),
    ) -> KeyPair:
        """Sign a certificate for clients, and for servers too where `names` (host names or addresses) are given."""
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [
            ExtendedKeyUsageOID.CLIENT_AUTH,
            *([ExtendedKeyUsageOID.SERVER_AUTH] if names else []),
        ]
        builder = _builder(_subject(common_name, organizations), self.root.subject, key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if names:
            alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
            builder = builder.add_extension(alternatives, critical=False)
        certificate = builder.sign(self.private_key, hashes.SHA256())
        pair = KeyPair(self.directory / f"{file_name}.crt", self.directory / f"{file_name}.key")
        _write(pair.certificate, certificate.public_bytes(serialization.Encoding.PEM))
        _write(pair.key, _pem(key))
        return pair


@dataclass(frozen=True, slots=True)
class Credentials:
    """All the certificates and keys of one sandbox."""

    authority: Authority
    """Signs for nodes that join later."""
    api_server: KeyPair
    kubelet_client: KeyPair
    """By which kubelets know the API server."""
    admin: KeyPair
    controller_manager: KeyPair
    scheduler: KeyPair
    service_account_key: Path
    etcd_ca: Path
    etcd_server: KeyPair
    etcd_client: KeyPair

    @property
    def ca(self) -> Path:
        """The certificate that clients of the API server trust."""
        return self.authority.certificate

    @classmethod
    def create(cls, directory: Path) -> "Credentials":
        """Make every certificate of a sandbox in `directory`.

        etcd has an authority of its own: a certificate that opens the API server must not open the store beneath it.
        """
        directory.mkdir(mode=0o700)
        cluster = Authority.create(directory, "ca")
        etcd = Authority.create(directory, "etcd-ca")
        service_account_key = directory / "service-account.key"
        _write(service_account_key, _pem(ec.generate_private_key(ec.SECP256R1())))
        return cls(
            authority=cluster,
            api_server=cluster.issue("api-server", "kube-apiserver", names=API_SERVER_NAMES),
            kubelet_client=cluster.issue("kubelet-client", "kube-apiserver", organizations=["system:masters"]),
            admin=cluster.issue("admin", "backstay-sandbox-admin", organizations=["system:masters"]),
            controller_manager=cluster.issue(
                "controller-manager",
                "system:kube-controller-manager",
                names=["127.0.0.1"],
            ),
            scheduler=cluster.issue("scheduler", "system:kube-scheduler", names=["127.0.0.1"]),
            service_account_key=service_account_key,
            etcd_ca=etcd.certificate,
            etcd_server=etcd.issue("etcd", "etcd", names=["127.0.0.1", "localhost"]),
            etcd_client=etcd.issue("etcd-client", "kube-apiserver"),
        )


def _builder(subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
    )


def _subject(common_name: str, organizations: Sequence[str]) -> x509.Name:
    organization_names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations]
    return x509.Name([*organization_names, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    # The older form, because the API server takes its service account keys in no other.
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
