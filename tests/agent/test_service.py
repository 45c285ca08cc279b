"""The agent as a process of a node: one of them, with the node's identity, and systemd knows that it lives."""

import datetime
import socket
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from backstay.adapters.kube.node_identity import NodeIdentity
from backstay.agent.commander import read_commander
from backstay.agent.service import node_name, notify, only_one
from backstay.errors import Refused

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: local, cluster: {server: "https://127.0.0.1:6444", certificate-authority: ca.crt}}]
users: [{name: user, user: {client-certificate: node.crt, client-key: node.key}}]
contexts: [{name: Default, context: {cluster: local, user: user}}]
current-context: Default
"""


def certificate(directory: Path, name: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    (directory / "node.crt").write_bytes(pem)
    (directory / "ca.crt").write_bytes(pem)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / "node.key").write_bytes(key.private_bytes(*form))


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    certificate(tmp_path, "system:node:box-1.example")
    path = tmp_path / "kubelet.kubeconfig"
    path.write_text(KUBECONFIG)
    return path


def test_identity_is_the_kubelets_and_its_server_another_where_one_is_named(kubeconfig: Path) -> None:
    identity = NodeIdentity.read(kubeconfig)
    assert (identity.host, node_name(identity)) == ("https://127.0.0.1:6444", "box-1.example")
    assert NodeIdentity.read(kubeconfig, "https://api.example:6443").host == "https://api.example:6443"


def test_identity_is_taken_up_when_the_kubelet_has_renewed_it(kubeconfig: Path) -> None:
    identity = NodeIdentity.read(kubeconfig)
    context, before = identity.tls(), identity.stamp()
    (kubeconfig.parent / "node.crt").unlink()
    assert identity.stamp() == (0, 0)
    certificate(kubeconfig.parent, "system:node:box-1.example")
    assert identity.stamp() != before
    identity.renew(context)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "current-context: nowhere",
        KUBECONFIG.replace("client-key: node.key", "token: secret"),
        KUBECONFIG.replace("Default, context", "Other, context"),
    ],
)
def test_identity_is_refused_by_name_when_the_kubeconfig_is_no_kubelets(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kubelet.kubeconfig"
    with pytest.raises(Refused, match="cannot be read"):
        NodeIdentity.read(path)
    path.write_text(text)
    with pytest.raises(Refused, match=r"kubelet\.kubeconfig does not name a server"):
        NodeIdentity.read(path)


def test_certificate_of_somebody_else_is_refused(kubeconfig: Path) -> None:
    certificate(kubeconfig.parent, "admin")
    with pytest.raises(Refused, match="is of admin, not of a node"):
        node_name(NodeIdentity.read(kubeconfig))


def test_second_agent_is_refused_while_the_first_runs(tmp_path: Path) -> None:
    with only_one(tmp_path / "data"), pytest.raises(Refused, match="another agent runs"), only_one(tmp_path / "data"):
        pass
    with only_one(tmp_path / "data"):
        pass


def test_systemd_hears_where_it_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notify("READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notify("WATCHDOG=1")
        assert systemd.recv(64) == b"WATCHDOG=1"
    (tmp_path / "notify").unlink()
    notify("WATCHDOG=1")


def test_commander_is_the_one_that_the_file_names(tmp_path: Path) -> None:
    path = tmp_path / "device"
    path.write_text("acme/box-1.example\n")
    found = read_commander(path)
    assert (found.namespace, found.name) == ("acme", "box-1.example")


@pytest.mark.parametrize("text", ["", "box-1", "acme/box-1/more", "acme/../box", "ACME/box", "a/b\nc/d\n", "\0"])
def test_file_that_names_no_device_is_refused_with_what_to_write(tmp_path: Path, text: str) -> None:
    path = tmp_path / "device"
    path.write_text(text)
    with pytest.raises(Refused, match="echo acme/box-1"):
        read_commander(path)


def test_file_that_others_could_have_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "device"
    path.write_text("acme/box-1\n")
    path.chmod(0o664)
    with pytest.raises(Refused, match="could have been written by others"):
        read_commander(path)
    with pytest.raises(Refused, match="nobody may command this node"):
        read_commander(tmp_path / "nothing")
