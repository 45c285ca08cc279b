"""Finding devices, and walking through them."""

import re
from html import unescape

import pytest

from tests.web.conftest import Site, visiting


def names(text: str) -> list[str]:
    return re.findall(r'<th scope="row"><a href="/acme/devices/[^"]+">([^<]+)</a>', text)


async def test_pages_together_are_every_device_once(site: Site) -> None:
    found: list[str] = []
    path = "/acme/devices"
    async with visiting(site, "ada") as visitor:
        while path:
            _, text = await visitor.sees(path)
            found += names(text)
            following = re.search(r'<a href="([^"]+)" rel="next">', text)
            path = unescape(following.group(1)) if following else ""
    assert len(found) == 74
    assert found == sorted(set(found))


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("state=Unhealthy", 1),
        ("state=Offline", 2),
        ("group=doors", 8),
        ("labels=region%3Deu,audience%3Dinternal", 1),
        ("name=gate-", 6),
        ("plane=firmware&version=1.1.0", 2),
        ("version=1.1.0&state=Healthy", 2),
        ("group=doors&version=4.0.0", 0),
        ("name=&group=&labels=&state=&plane=&version=&order=", 50),
    ],
)
async def test_filter_finds_what_fits(site: Site, query: str, number: int) -> None:
    async with visiting(site, "ada") as visitor:
        _, text = await visitor.sees(f"/acme/devices?{query}")
    assert len(names(text)) == number
    assert ("No device is like that." in text) is (number == 0)


async def test_order_is_turned_with_the_filter_kept(site: Site) -> None:
    async with visiting(site, "ada") as visitor:
        _, text = await visitor.sees("/acme/devices?name=gate-")
        (turned,) = re.findall(r'aria-sort="ascending"><a href="([^"]+)"', text)
        _, text = await visitor.sees(unescape(turned))
    assert names(text) == [f"gate-{number}" for number in range(5, -1, -1)]
    assert 'aria-sort="descending"' in text


async def test_number_of_devices_is_told_where_it_is_counted_already(site: Site) -> None:
    async with visiting(site, "ada") as visitor:
        assert "74 devices, 50 of them here" in (await visitor.sees("/acme/devices"))[1]
        assert "2 devices, 2 of them here" in (await visitor.sees("/acme/devices?plane=firmware&version=1.1.0"))[1]
        assert "1 devices, 1 of them here" in (await visitor.sees("/acme/devices?state=Unhealthy"))[1]
        assert "8 devices here" in (await visitor.sees("/acme/devices?group=doors"))[1]
