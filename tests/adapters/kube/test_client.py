import aiohttp
import pytest
from kubernetes.aio.client.configuration import Configuration

from backstay.adapters.kube.client import KubeClient


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_credentials_hold_the_bare_token_when_the_official_client_writes_its_scheme_this_or_that_way(scheme: str):
    identity = Configuration(host="https://127.0.0.1:1", api_key={"BearerToken": f"{scheme} abc.def"})
    async with aiohttp.ClientSession() as session:
        found = await KubeClient(session, identity, "test").credentials()

    assert found.token == "abc.def"


async def test_credentials_hold_no_token_when_a_certificate_is_the_identity():
    identity = Configuration(host="https://127.0.0.1:1")
    identity.cert_file, identity.key_file = "/c.crt", "/c.key"
    async with aiohttp.ClientSession() as session:
        found = await KubeClient(session, identity, "test").credentials()

    assert (found.token, found.certificate_file) == (None, "/c.crt")
