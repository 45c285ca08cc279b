"""The life of one device."""

import re

from backstay.errors import Unavailable
from backstay.ports.access import Kind
from tests.web.conftest import Site, served, visiting
from tests.web.stage import Stage


async def test_device_tells_what_failed_and_why_and_when(site: Site) -> None:
    async with visiting(site, "ada") as visitor:
        _, text = await visitor.sees("/acme/devices/eu-cam-030")
    assert "Failed" in text
    assert "camera: no frame in 5 s" in text
    assert "it belongs to ring eu (3 of 4), by its labels, which has started" in text
    assert 'href="/acme/plans/vision"' in text
    timeline = text.split('id="h-timeline"')[1]
    titles = re.findall(r"<b>([^<]+)</b>", timeline)
    assert titles[:2] == ["model: RolledBack", "step 1 ordered"]
    assert titles[-1] == "came"


async def test_device_is_shown_as_far_as_it_is_known_when_the_api_server_is_away() -> None:
    stage = Stage()
    stage.device("acme", "cam-1", {"kind": "camera"}, model="1.0.0")

    async def away(*_: object) -> None:
        raise Unavailable("the API server does not answer")

    stage.chronicle.device = stage.chronicle.events = away  # type: ignore[method-assign, assignment]
    async with served(stage) as site, visiting(site, "ada") as visitor:
        status, text = await visitor.sees("/acme/devices/cam-1")
    assert status == 200
    assert "only a part of the device can be shown: the API server does not answer" in text
    assert "1.0.0" in text


async def test_why_is_left_out_for_whoever_may_not_see_the_holds_it_names(site: Site) -> None:
    site.stage.access.let_in("token", "bob", {"acme": frozenset()})
    site.stage.access.rights["bob"] = {"acme": frozenset({Kind.DEVICES, Kind.PLANS})}
    async with visiting(site, "token") as visitor:
        _, text = await visitor.sees("/acme/devices/eu-cam-030")
    assert "it belongs to ring" not in text
    assert "you may not list" in text
