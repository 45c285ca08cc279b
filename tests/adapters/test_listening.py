"""Where something listens it says so in a URL that can be used, and what keeps it from listening is named."""

import aiohttp
import pytest
from aiohttp import web

from backstay.adapters.listening import Door, listening
from backstay.errors import Refused


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_url_can_be_used_as_it_is_told(host: str) -> None:
    async with listening(web.Application(), host, 0) as url, aiohttp.ClientSession() as session:
        assert (await session.get(f"{url}/nothing")).status == 404


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", r"\[::1\]")])
async def test_option_is_named_when_the_address_is_taken(host: str, shown: str) -> None:
    async with listening(web.Application(), host, 0) as url:
        port = int(url.rpartition(":")[2])
        door = Door(whose="the operator", option="--metrics-listen")
        words = f"the operator cannot listen on {shown}:{port}: .*; choose another --metrics-listen"
        with pytest.raises(Refused, match=words):
            async with listening(web.Application(), host, port, door):
                pass
