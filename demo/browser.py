"""The page as a person has it open: in a real Chromium, signed in, and photographed."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from playwright.async_api import Error, Page, async_playwright

from backstay.errors import BackstayError

PROGRAM: Final = "chromium"
WIDTH, HEIGHT = 1280, 1300
LIVE_MILLISECONDS: Final = 20_000


class PageUnseen(BackstayError):
    """The browser does not show the page."""


@asynccontextmanager
async def signed_in(address: str, path: str, token: str) -> AsyncIterator[Page]:
    """The page at a path, live, as whoever the token is of.

    Raises:
        PageUnseen: there is no browser, or the page does not come up in it.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise PageUnseen("there is no chromium here; `make setup-tests` installs it")
    try:
        async with async_playwright() as playwright:
            # As root there is no sandbox to be had; what is looked at is our own.
            browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            try:
                # The certificate's authority is the demo's own, and no browser knows it.
                page = await browser.new_page(
                    viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light", ignore_https_errors=True
                )
                await page.goto(address + path)
                await page.get_by_label("Token").fill(token)
                await page.keyboard.press("Enter")
                await page.locator("#pulse[data-pulse=live]").wait_for(timeout=LIVE_MILLISECONDS)
                yield page
            finally:
                await browser.close()
    except Error as error:
        raise PageUnseen(f"{address}{path}: {error}") from error


async def photograph(page: Page, file: Path) -> None:
    """Keep a picture of what the window shows as PNG; below it are Events, which are many."""
    await page.screenshot(path=file)


def pictures(directory: Path) -> dict[str, Path]:
    """Where the pictures of an act are kept: while the release rolled, and when it had ended."""
    return {moment: directory / f"page-{moment}.png" for moment in ("rolling", "succeeded")}
