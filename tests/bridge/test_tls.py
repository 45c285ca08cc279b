"""TLS as devices meet it: real handshakes with real certificates, renewed while the bridge runs."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from yarl import URL

from backstay.adapters.listening import Door, listening
from backstay.adapters.tls import Certificate, CertificateUnusable
from backstay.bridge.tokens import target_token
from tests.bridge.certificates import Authority
from tests.bridge.conftest import KEY, World


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ours")


@pytest.fixture
async def address(world: World, authority: Authority, tmp_path: Path) -> AsyncIterator[tuple[str, Certificate]]:
    """A bridge's paths behind TLS, and its certificate."""
    authority.issue("bridge", tmp_path / "tls")
    certificate = Certificate.in_directory(tmp_path / "tls")
    async with listening(world.bridge.application, "localhost", 0, Door(certificate.context)) as found:
        yield found, certificate


async def shown(address: str, tls: ssl.SSLContext) -> int:
    """The serial number of the certificate that a handshake is answered with."""
    _, writer = await asyncio.open_connection("localhost", URL(address).port, ssl=tls)
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(certificate).serial_number


async def polled(address: str, tls: ssl.SSLContext) -> dict[str, dict[str, str]]:
    """The links of a poll."""
    headers = {"Authorization": f"TargetToken {target_token(KEY, 'cam-1', 1)}"}
    url = f"{address}/acme/controller/v1/cam-1"
    async with aiohttp.ClientSession() as session, session.get(url, ssl=tls, headers=headers) as response:
        assert response.status == 200
        return dict((await response.json())["_links"])


async def refused(address: str, tls: ssl.SSLContext) -> Exception:
    """Why a device gets no answer; what is left of the handshake has ended when this returns."""
    with pytest.raises((aiohttp.ClientError, ssl.SSLError)) as found:
        await polled(address, tls)
    await asyncio.sleep(0.1)
    return found.value


async def test_device_that_trusts_the_authority_is_served_and_all_links_stay_in_tls(address, authority) -> None:
    links = await polled(address[0], authority.trusted())
    assert address[0].startswith("https://")
    assert all(link["href"].startswith(address[0]) for link in links.values())


async def test_device_that_trusts_another_authority_does_not_speak_to_the_bridge(address, tmp_path: Path) -> None:
    error = await refused(address[0], Authority(tmp_path, "another").trusted())
    assert isinstance(error, aiohttp.ClientConnectorCertificateError)


async def test_plain_http_is_not_answered_behind_tls(address) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(address[0].replace("https", "http"))


async def test_artifact_has_no_link_in_plain_http_behind_tls(world: World, address, authority) -> None:
    world.order()
    await world.offered()
    headers = {"Authorization": f"TargetToken {target_token(KEY, 'cam-1', 1)}"}
    url = f"{address[0]}/acme/controller/v1/cam-1/deploymentBase/1"
    async with aiohttp.ClientSession() as session:
        async with session.get(url, ssl=authority.trusted(), headers=headers) as response:
            (artifact,) = (await response.json())["deployment"]["chunks"][0]["artifacts"]
        assert sorted(artifact["_links"]) == ["download", "md5sum"]
        async with session.get(
            artifact["_links"]["download"]["href"], ssl=authority.trusted(), headers=headers
        ) as response:
            assert len(await response.read()) == artifact["size"]


async def test_renewed_certificate_is_shown_from_the_next_handshake_on(address, authority, tmp_path: Path) -> None:
    before = await shown(address[0], authority.trusted())
    serial = authority.issue("bridge", tmp_path / "tls")
    assert address[1].take_up_changes()
    after = await shown(address[0], authority.trusted())
    assert after == serial != before
    assert not address[1].take_up_changes(), "nothing has changed since"


@pytest.mark.parametrize("wrong", ["no certificate", "", None])
async def test_last_certificate_stays_when_the_renewed_one_cannot_be_used(
    address, authority, tmp_path: Path, caplog: pytest.LogCaptureFixture, wrong: str | None
) -> None:
    before = await shown(address[0], authority.trusted())
    if wrong is None:
        (tmp_path / "tls" / "tls.crt").unlink()
    else:
        (tmp_path / "tls" / "tls.crt").write_text(wrong)
    assert not address[1].take_up_changes()
    assert "the last one stays" in caplog.text
    assert await shown(address[0], authority.trusted()) == before


async def test_last_certificate_stays_when_only_its_half_was_renewed(address, authority, tmp_path: Path) -> None:
    before = await shown(address[0], authority.trusted())
    authority.issue("bridge", tmp_path / "next")
    (tmp_path / "tls" / "tls.crt").write_bytes((tmp_path / "next" / "tls.crt").read_bytes())
    assert not address[1].take_up_changes()
    assert await shown(address[0], authority.trusted()) == before
    (tmp_path / "tls" / "tls.key").write_bytes((tmp_path / "next" / "tls.key").read_bytes())
    assert address[1].take_up_changes()


async def test_devices_must_show_a_certificate_where_the_bridge_asks_for_one(
    world: World, authority: Authority, tmp_path: Path
) -> None:
    authority.issue("bridge", tmp_path / "tls")
    devices, strangers = Authority(tmp_path, "devices"), Authority(tmp_path, "strangers")
    for name, signer in (("mine", devices), ("foreign", strangers)):
        signer.issue("cam-1", tmp_path / name)
    certificate = Certificate.in_directory(tmp_path / "tls", devices.file)
    async with listening(world.bridge.application, "localhost", 0, Door(certificate.context)) as found:
        assert await polled(found, authority.trusted(tmp_path / "mine"))
        for context in (authority.trusted(), authority.trusted(tmp_path / "foreign")):
            await refused(found, context)


@pytest.mark.parametrize("missing", ["tls.crt", "tls.key"])
def test_bridge_does_not_start_with_half_a_certificate(authority: Authority, tmp_path: Path, missing: str) -> None:
    authority.issue("bridge", tmp_path / "tls")
    (tmp_path / "tls" / missing).unlink()
    with pytest.raises(CertificateUnusable, match=r"tls\.crt and .*tls\.key are no usable certificate"):
        Certificate.in_directory(tmp_path / "tls")


def test_bridge_does_not_start_with_an_authority_that_is_none(authority: Authority, tmp_path: Path) -> None:
    authority.issue("bridge", tmp_path / "tls")
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(CertificateUnusable, match=r"ca\.pem holds no certificate of an authority"):
        Certificate.in_directory(tmp_path / "tls", tmp_path / "ca.pem")
