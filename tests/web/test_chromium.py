"""The page in a real browser: live, by keyboard alone, in both themes, wide and narrow, and with nothing in the way."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backstay.core.planes import Plane
from backstay.core.revision import Phase
from tests.web.browsing import browsing
from tests.web.conftest import AWAY, TOKENS, Site, away, served
from tests.web.stage import Stage

SHOTS = Path(__file__).parents[2] / "build" / "page"
PAGES = {
    "overview": "/",
    "namespace": "/acme",
    "plan": "/acme/plans/vision",
    "went-back": "/borealis/plans/lights",
    "devices": "/acme/devices",
    "device": "/acme/devices/eu-cam-030",
    "holds": "/borealis/holds",
    "hostile": "/evil/devices/eve-1",
}


@pytest.fixture
async def rolling() -> AsyncIterator[Site]:
    """Six cameras before a release."""
    stage = Stage()
    stage.group("acme", "cameras", kind="camera")
    for number in range(6):
        stage.device("acme", f"cam-{number}", {"kind": "camera"}, model="1.0.0")
    rings = [
        {"name": "canary", "size": 2, "soak": "1m", "inFlight": "100%"},
        {"name": "rest", "size": "100%", "soak": "1m"},
    ]
    stage.plan("acme", "vision", {Plane.MODEL: "2.0.0"}, groups=["cameras"], rings=rings)
    stage.play("acme", "vision", lambda decision: decision.phase is Phase.ROLLING)
    async with served(stage) as site:
        yield site


async def test_rings_fill_before_ones_eyes_without_a_reload(rolling: Site) -> None:
    stage = rolling.stage
    async with browsing(rolling.address) as tab:
        await tab.signs_in("ada")
        await tab.opens("/acme/plans/vision")
        page = tab.page
        await page.evaluate("window.here = true")
        canary = page.get_by_role("row").filter(has_text="canary")
        await canary.get_by_text("0/2").wait_for()
        aloud = page.locator("#aloud")
        stage.turn("acme", "vision")
        stage.obey("acme")
        stage.turn("acme", "vision")
        await canary.get_by_text("2/2").wait_for()
        bar = canary.get_by_role("img", name="ring canary: 2 confirmed of 2")
        await bar.wait_for()
        assert (await aloud.text_content() or "").startswith("vision is Soaking in ring canary")
        assert (await page.title()).startswith("Soaking: vision")
        stage.clock.pass_by(minutes=2)
        stage.play("acme", "vision", lambda decision: decision.phase is Phase.ROLLING and decision.state.ring == 1)
        await page.get_by_role("row").filter(has_text="canary").get_by_text("passed", exact=False).first.wait_for()
        assert await page.evaluate("window.here"), "the page was loaded anew"


async def test_what_is_unfolded_typed_and_focused_stays_so_when_the_page_changes(rolling: Site) -> None:
    async with browsing(rolling.address) as tab:
        await tab.signs_in("ada")
        await tab.opens("/acme/plans/vision")
        page = tab.page
        summary = page.get_by_text("All that backstay why says")
        await summary.focus()
        await page.keyboard.press("Enter")
        rolling.stage.turn("acme", "vision")
        rolling.stage.obey("acme")
        rolling.stage.turn("acme", "vision")
        await page.get_by_text("2/2").wait_for()
        assert await page.locator("details").first.get_attribute("open") is not None
        assert await summary.evaluate("node => node === document.activeElement")
        await tab.opens("/acme/devices")
        await page.get_by_label("Name begins with").fill("cam-")
        rolling.stage.device("acme", "cam-9", {"kind": "camera"}, model="9.9.9")
        await page.get_by_role("cell", name="9.9.9").wait_for()
        assert await page.get_by_label("Name begins with").input_value() == "cam-"


async def test_everything_is_reached_and_done_with_the_keyboard_alone(site: Site) -> None:
    async with browsing(site.address) as tab:
        page, keys = tab.page, tab.page.keyboard
        await page.goto(site.address)
        names = []
        for _ in range(6):
            await keys.press("Tab")
            names.append(await page.evaluate("document.activeElement.textContent || document.activeElement.name"))
        assert names == ["Skip to the content", "Backstay", "Auto", "Light", "Dark", "token"]
        await keys.type(TOKENS["admin"])
        await keys.press("Enter")
        await tab.is_live()
        await keys.press("Tab")
        assert await page.evaluate("document.activeElement.textContent") == "Skip to the content"
        assert await page.get_by_text("Skip to the content").is_visible()
        await keys.press("Enter")
        await keys.press("Tab")
        assert await page.evaluate("document.activeElement.pathname") == "/acme/plans/gates"
        outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        await keys.press("Enter")
        await page.wait_for_url("**/acme/plans/gates")
        await tab.is_live()
        reachable = await page.evaluate(
            "[...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, summary')]"
            ".filter(node => node.tabIndex < 0 || !node.checkVisibility()).map(node => node.outerHTML)"
        )
        assert reachable == []


@pytest.mark.parametrize(("theme", "width", "other"), [("light", 1280, 390), ("dark", 390, 1280)])
async def test_every_page_can_be_read_by_everybody_and_fits(site: Site, theme: str, width: int, other: int) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    barriers: dict[str, list[str]] = {}
    async with browsing(site.address, color_scheme=theme, viewport={"width": width, "height": 900}) as tab:

        async def shot(name: str, across: int) -> None:
            await tab.page.set_viewport_size({"width": across, "height": 900})
            await tab.page.screenshot(path=SHOTS / f"{name}-{theme}-{across}.png", full_page=True)
            assert await tab.page.evaluate("document.documentElement.scrollWidth") <= across, name

        await tab.page.goto(site.address)
        barriers["sign-in"] = await tab.barriers()
        await shot("sign-in", width)
        await tab.signs_in("admin")
        for name, path in PAGES.items():
            await tab.opens(path)
            for summary in await tab.page.locator("summary").all():
                await summary.click()
            barriers[name] = await tab.barriers()
            for summary in await tab.page.locator("summary").all():
                await summary.click()
            await shot(name, other)
            await shot(name, width)
    assert {name: found for name, found in barriers.items() if found} == {}


async def test_trouble_is_told_as_long_as_it_lasts_and_no_longer(rolling: Site) -> None:
    async with browsing(rolling.address) as tab:
        await tab.signs_in("ada")
        await tab.opens("/acme/plans/vision")
        with away(rolling.stage):
            await tab.page.locator("#pulse[data-pulse=lost]").get_by_text(AWAY).wait_for()
        await tab.is_live()
        assert await tab.page.locator("#pulse").text_content() == "live"


async def test_reader_who_may_no_longer_see_it_has_nothing_of_it_left_on_the_screen(rolling: Site) -> None:
    async with browsing(rolling.address) as tab:
        await tab.signs_in("ada")
        await tab.opens("/acme/plans/vision")
        await tab.page.get_by_text("canary").first.wait_for()
        del rolling.stage.access.people[TOKENS["ada"]]
        rolling.stage.clock.pass_by(seconds=60)
        await tab.page.get_by_text("You are signed out").first.wait_for()
        assert await tab.page.get_by_text("canary").count() == 0


async def test_page_is_whole_without_any_script(site: Site) -> None:
    async with browsing(site.address, java_script_enabled=False) as tab:
        page = tab.page
        await page.goto(site.address)
        await page.get_by_label("Token").fill(TOKENS["ada"])
        await page.keyboard.press("Enter")
        await page.get_by_role("link", name="acme / vision").click()
        await page.get_by_role("heading", name="plan vision").wait_for()
        assert await page.get_by_role("img", name="ring eu: 8 confirmed").count() == 1
        await page.get_by_role("button", name="Dark").click()
        assert await page.locator("html").get_attribute("data-theme") == "dark"
        assert page.url.endswith("/acme/plans/vision")
        await page.get_by_role("link", name="Devices").click()
        await page.get_by_label("State").select_option("Unhealthy")
        await page.get_by_role("button", name="Show").click()
        assert await page.get_by_role("link", name="apac-cam-011").count() == 1
        await page.get_by_role("button", name="Sign out").click()
        await page.get_by_role("heading", name="Sign in").wait_for()


async def test_theme_that_is_chosen_wins_over_the_systems(site: Site) -> None:
    async with browsing(site.address, color_scheme="light") as tab:
        await tab.signs_in("ada")

        async def paper() -> str:
            return str(await tab.page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))

        light = await paper()
        await tab.page.get_by_role("button", name="Dark").click()
        await tab.is_live()
        dark = await paper()
        assert light != dark
        await tab.page.emulate_media(color_scheme="dark")
        await tab.page.get_by_role("button", name="Auto").click()
        await tab.is_live()
        assert await paper() == dark


async def test_nothing_moves_for_whoever_wants_no_motion(rolling: Site) -> None:
    async with browsing(rolling.address, reduced_motion="reduce") as tab:
        await tab.signs_in("ada")
        await tab.opens("/acme/plans/vision")
        moving = await tab.page.evaluate("getComputedStyle(document.querySelector('.bar rect')).transitionDuration")
        assert moving == "0s"
