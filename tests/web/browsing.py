"""A real Chromium that looks at the page, and notices whatever a page should not do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, async_playwright

from tests.web.conftest import TOKENS

CHROMIUM = "chromium"


@dataclass
class Tab:
    """A tab, and all that went wrong in it."""

    page: Page
    address: str
    wrong: list[str] = field(default_factory=list)

    async def opens(self, path: str) -> None:
        """Open an address, and wait until it is live."""
        await self.page.goto(self.address + path)
        await self.is_live()

    async def is_live(self) -> None:
        await self.page.locator("#pulse[data-pulse=live]").wait_for(timeout=10_000)

    async def signs_in(self, who: str) -> None:
        await self.page.goto(f"{self.address}/-/sign-in")
        await self.page.get_by_label("Token").fill(TOKENS[who])
        await self.page.keyboard.press("Enter")
        await self.is_live()

    async def barriers(self) -> list[str]:
        """What axe finds that keeps people from using the page."""
        found = (await Axe().run(self.page)).response["violations"]
        return [
            f"{one['id']}: {node['html'][:200]} {node.get('failureSummary')}" for one in found for node in one["nodes"]
        ]


@asynccontextmanager
async def browsing(address: str, **context: Any) -> AsyncIterator[Tab]:
    """A tab of a fresh browser; whatever went wrong in it fails the test when it ends."""
    async with async_playwright() as playwright:
        # As root there is no sandbox to be had; what is looked at is our own.
        browser = await playwright.chromium.launch(executable_path=f"/usr/bin/{CHROMIUM}", args=["--no-sandbox"])
        try:
            tab = Tab(await (await browser.new_context(**context)).new_page(), address)
            _listen(tab)
            yield tab
        finally:
            await browser.close()
    assert tab.wrong == []


def _listen(tab: Tab) -> None:
    page = tab.page
    page.on("console", lambda said: tab.wrong.append(said.text) if said.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: tab.wrong.append(str(error)))
    page.on("dialog", lambda dialog: tab.wrong.append(f"a dialog opened: {dialog.message}"))
    page.on("request", lambda asked: None if asked.url.startswith(tab.address) else tab.wrong.append(asked.url))
