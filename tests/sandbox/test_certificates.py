import asyncio
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from backstay.sandbox.certificates import Authority, Credentials, KeyPair


def server_context(pair: KeyPair, clients: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=None if clients is None else str(clients))
    context.load_cert_chain(pair.certificate, pair.key)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> bytes:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=server)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
        try:
            return await reader.read()
        finally:
            writer.close()


async def greeting(server: ssl.SSLContext, client: ssl.SSLContext) -> bytes:
    # Under TLS 1.3 the client may not learn why it is turned away: it gets an error or nothing at all.
    try:
        return await shake_hands(server, client)
    except (ssl.SSLError, ConnectionResetError):
        return b""


async def test_server_is_trusted_by_its_own_authority_alone(tmp_path: Path):
    (tmp_path / "other").mkdir()
    authority, other = Authority.create(tmp_path, "ca"), Authority.create(tmp_path / "other", "ca")
    server = server_context(authority.issue("server", "server", names=["127.0.0.1"]))

    assert await shake_hands(server, ssl.create_default_context(cafile=str(authority.certificate))) == b"hello"
    with pytest.raises(ssl.SSLCertVerificationError):
        await shake_hands(server, ssl.create_default_context(cafile=str(other.certificate)))


async def test_etcd_is_closed_when_a_client_comes_with_a_certificate_of_the_cluster(tmp_path: Path):
    credentials = Credentials.create(tmp_path / "credentials")
    server = server_context(credentials.etcd_server, clients=credentials.etcd_ca)
    client = ssl.create_default_context(cafile=str(credentials.etcd_ca))

    client.load_cert_chain(credentials.admin.certificate, credentials.admin.key)
    assert await greeting(server, client) != b"hello"

    client.load_cert_chain(credentials.etcd_client.certificate, credentials.etcd_client.key)
    assert await greeting(server, client) == b"hello"


def test_administrator_is_in_the_group_that_may_do_everything(tmp_path: Path):
    credentials = Credentials.create(tmp_path / "credentials")

    subject = x509.load_pem_x509_certificate(credentials.admin.certificate.read_bytes()).subject

    assert [name.value for name in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == ["system:masters"]


def test_keys_are_for_this_user_alone(tmp_path: Path):
    Credentials.create(tmp_path / "credentials")

    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "credentials").iterdir())
