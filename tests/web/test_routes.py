"""Whatever text is asked for as a page is a page, or none, and never an accident."""

import aiohttp
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from backstay.web.pages.device import DevicePage
from backstay.web.pages.devices import BadFilter, DevicesPage
from backstay.web.pages.overview import OverviewPage
from backstay.web.pages.page import NotThere
from backstay.web.routes import address_in, page_at
from tests.web.conftest import TOKENS, Site, served
from tests.web.stage import Stage

addresses = st.text() | st.from_regex(r"/{1,2}(acme|\[|%[0-9a-f]{2}|[?&=#:;@\\.]|devices|name|labels|[a-z]){0,8}")


@pytest.mark.parametrize(
    ("text", "page"),
    [
        ("/", OverviewPage()),
        ("/acme", OverviewPage("acme")),
        ("//acme", OverviewPage("acme")),
        ("/acme/devices/cam-1?x=1#below", DevicePage("acme", "cam-1")),
        ("/acme/devices?name=a%20b", DevicesPage.from_query("acme", [("name", "a b")])),
    ],
)
def test_text_is_the_page_that_a_request_for_it_would_show(text: str, page: object) -> None:
    assert page_at(address_in(text)) == page


@pytest.mark.parametrize("text", ["", "acme", "//[", "http://[::1", "https://evil.example/acme", "?name=a", "/ACME"])
def test_text_is_no_page_when_no_request_could_ask_for_it(text: str) -> None:
    with pytest.raises(NotThere):
        page_at(address_in(text))


@given(addresses)
def test_any_text_is_a_page_or_none_or_a_filter_that_means_nothing(text: str) -> None:
    try:
        page_at(address_in(text))
    except (NotThere, BadFilter):
        return


@pytest.fixture(scope="module")
def stage() -> Stage:
    """Something to show."""
    found = Stage()
    found.device("acme", "cam-1", {"kind": "camera"}, model="1.0.0")
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(texts=st.lists(addresses, min_size=1, max_size=10))
@example(texts=["//[", "http://[", "/acme/devices?name=a&name=b", "/%00", "\x00", "//"])
async def test_stream_is_never_an_error_of_ours_whatever_it_is_asked_for(stage: Stage, texts: list[str]) -> None:
    async with served(stage) as site, aiohttp.ClientSession(headers=_known()) as session:
        answers = {text: await _status(session, site, text) for text in texts}
    assert {text for text, status in answers.items() if status not in {200, 400, 404}} == set()


def _known() -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS['ada']}"}


async def _status(session: aiohttp.ClientSession, site: Site, text: str) -> int:
    # A stream goes on and on: how it begins is all there is to see.
    async with session.get(f"{site.address}/-/live", params={"page": text}) as answer:
        return answer.status
