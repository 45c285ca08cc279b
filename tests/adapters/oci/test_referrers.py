"""The referrers API as registries really answer it: in pages, not at all, and wrongly."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from backstay.adapters.oci.media_types import OCI_INDEX
from backstay.adapters.oci.referrers import PAGES_LIMIT, referrers
from backstay.adapters.oci.transport import MANIFEST_LIMIT_BYTES, Transport
from backstay.ports.registry import ArtifactMalformed, Reference, RegistryForbidden, RegistryUnavailable

DIGEST = f"sha256:{'a' * 64}"
API = f"/v2/vision/model/referrers/{DIGEST}"
TAG = f"/v2/vision/model/manifests/{DIGEST.replace(':', '-')}"


class Answers:
    """A registry that answers what a test says, by path and query."""

    def __init__(self) -> None:
        self.by_url: dict[str, dict[str, Any]] = {}
        """What the response to each is made of."""
        self.asked: list[str] = []
        self.host = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(str(request.rel_url))
        return web.Response(**self.by_url.get(str(request.rel_url), {"status": 404}))

    def index(self, url: str, *entries: Any, link: str | None = None) -> None:
        headers = {"Link": link} if link else {}
        body = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
        self.by_url[url] = {"body": body, "content_type": OCI_INDEX, "headers": headers}

    @property
    def reference(self) -> Reference:
        return Reference.parse(f"{self.host}/vision/model@{DIGEST}")


@pytest.fixture
async def answers() -> AsyncIterator[Answers]:
    answers = Answers()
    app = web.Application()
    app.router.add_get("/{path:.*}", answers.answer)
    async with TestServer(app, host="127.0.0.1") as server:
        answers.host = f"127.0.0.1:{server.port}"
        yield answers


async def test_referrers_are_read_to_the_last_page(answers: Answers, transport: Transport) -> None:
    answers.index(API, {"n": 1}, link=f'<{API}?last=1>; rel="next"')
    answers.index(f"{API}?last=1", {"n": 2}, link='<?last=2>; rel="next"')
    answers.index(f"{API}?last=2", {"n": 3})
    assert await referrers(transport, answers.reference) == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert len(answers.asked) == 3


async def test_referrers_are_refused_when_the_pages_do_not_end(answers: Answers, transport: Transport) -> None:
    answers.index(API, {"n": 1}, link=f'<{API}>; rel="next"')
    with pytest.raises(ArtifactMalformed, match=f"more than {PAGES_LIMIT} pages"):
        await referrers(transport, answers.reference)
    assert len(answers.asked) == PAGES_LIMIT


@pytest.mark.parametrize("link", ["<http://127.0.0.1:1/next>", "<http://metadata.example/>", "<//other.example/v2>"])
async def test_referrers_go_on_nowhere_else_than_at_the_registry(
    answers: Answers, transport: Transport, link: str
) -> None:
    answers.index(API, link=f'{link}; rel="next"')
    with pytest.raises(RegistryUnavailable, match="another server; refused"):
        await referrers(transport, answers.reference)


@pytest.mark.parametrize("link", ["<http://[>", "<http://127.0.0.1:99999999/>"])
async def test_referrers_name_the_registry_when_the_next_page_is_nowhere(
    answers: Answers, transport: Transport, link: str
) -> None:
    answers.index(API, link=f'{link}; rel="next"')
    with pytest.raises(RegistryUnavailable, match=r"127\.0\.0\.1"):
        await referrers(transport, answers.reference)


@pytest.mark.parametrize("status", [400, 404, 405, 406])
async def test_referrers_come_from_the_tag_when_there_is_no_api(
    answers: Answers, transport: Transport, status: int
) -> None:
    answers.by_url[API] = {"status": status}
    answers.index(TAG, {"n": 1})
    assert await referrers(transport, answers.reference) == [{"n": 1}]
    assert answers.asked == [API, TAG]


async def test_referrers_come_from_the_tag_when_a_page_for_people_answers(
    answers: Answers, transport: Transport
) -> None:
    answers.by_url[API] = {"text": "<html>Welcome</html>", "content_type": "text/html"}
    answers.index(TAG, {"n": 1})
    assert await referrers(transport, answers.reference) == [{"n": 1}]


async def test_referrers_are_none_when_there_is_neither_api_nor_tag(answers: Answers, transport: Transport) -> None:
    assert await referrers(transport, answers.reference) == []


async def test_tag_is_not_asked_when_the_api_lists_nothing(answers: Answers, transport: Transport) -> None:
    answers.index(API)
    answers.index(TAG, {"n": 1})
    assert await referrers(transport, answers.reference) == []


@pytest.mark.parametrize(
    ("status", "error"), [(401, RegistryForbidden), (403, RegistryForbidden), (500, RegistryUnavailable)]
)
async def test_referrers_are_not_called_missing_when_the_registry_did_not_say_so(
    answers: Answers, transport: Transport, status: int, error: type[Exception]
) -> None:
    answers.by_url[API] = {"status": status}
    with pytest.raises(error):
        await referrers(transport, answers.reference)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"manifests": {}}', b'{"manifests": [1]}'])
async def test_referrers_are_refused_by_name_when_they_are_no_index(
    answers: Answers, transport: Transport, body: bytes
) -> None:
    answers.by_url[API] = {"body": body, "content_type": OCI_INDEX}
    with pytest.raises(ArtifactMalformed, match="the list of what refers to"):
        await referrers(transport, answers.reference)


async def test_referrers_are_refused_when_the_list_is_too_large(answers: Answers, transport: Transport) -> None:
    answers.by_url[API] = {"body": bytes(MANIFEST_LIMIT_BYTES + 1), "content_type": OCI_INDEX}
    with pytest.raises(ArtifactMalformed, match="larger than"):
        await referrers(transport, answers.reference)
