"""What stands on the first page, and in which order."""

import re

from tests.web.conftest import Site, visiting


async def test_what_needs_a_person_comes_first_and_the_worst_of_it_at_the_top(site: Site) -> None:
    async with visiting(site, "admin") as visitor:
        _, text = await visitor.sees("/")
    waiting, rest = text.split('id="h-running"')
    assert re.findall(r'href="/(\w+/plans/\w+)"', waiting) == [
        "acme/plans/gates",
        "acme/plans/doors",
        "borealis/plans/lights",
    ]
    running, quiet = rest.split('id="h-quiet"')
    assert "acme/plans/vision" in running
    assert re.findall(r'href="/(\w+/plans/\w+)"', quiet) == ["borealis/plans/kiosks"]
    assert "<title>(3) Overview" in text


async def test_fleet_is_counted_by_plane_and_version(site: Site) -> None:
    async with visiting(site, "ada") as visitor:
        _, text = await visitor.sees("/acme")
    assert re.search(r"version=7\.1\.0.*?>39<", text, re.DOTALL)
    assert re.search(r"version=7\.2\.0.*?>21<", text, re.DOTALL)
    assert 'aria-label="model 7.2.0: 13 healthy, 8 changing of 74"' in text or "model 7.2.0:" in text
