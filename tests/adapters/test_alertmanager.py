"""What is sent to Alertmanager, and what its refusals mean; the real one is in the cluster tests."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import aiohttp
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from backstay.adapters.alertmanager import Alertmanager
from backstay.core.actions import Alert, AlertKind
from backstay.core.devices import RevisionName
from backstay.core.planes import Plane
from backstay.errors import Refused, Unavailable
from backstay.ports.pages import PageAlert, Severity, page_for

NOW = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


def page(kind: AlertKind = AlertKind.ROLLED_BACK, plane: Plane | None = Plane.MODEL) -> PageAlert:
    alert = Alert(kind, "plan vision was rolled back: accuracy-0.61 is too low", plane)
    return page_for(
        alert, namespace="acme", plan="vision", revision=RevisionName("3f9c-2"), starts_at=NOW, ends_at=LATER
    )


class Receiver:
    """An HTTP server that takes pages, or answers what a test tells it."""

    def __init__(self) -> None:
        self.taken: list[dict[str, object]] = []
        self.answer: web.Response | None = None
        self.waits_seconds = 0.0

    async def take(self, request: web.Request) -> web.Response:
        await asyncio.sleep(self.waits_seconds)
        if self.answer is not None:
            return self.answer
        assert request.content_type == "application/json"
        self.taken.extend(orjson.loads(await request.read()))
        return web.Response()


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
async def pages(receiver: Receiver) -> AsyncIterator[Alertmanager]:
    app = web.Application()
    app.router.add_post("/am/api/v2/alerts", receiver.take)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        yield Alertmanager(session, str(server.make_url("/am/")), timeout_seconds=0.3)


async def test_raise_sends_names_as_labels_and_words_as_annotations_when_a_page_is_due(pages, receiver):
    await pages.raise_([page()])
    (taken,) = receiver.taken
    assert taken == {
        "labels": {
            "alertname": "BackstayRolledBack",
            "severity": "warning",
            "namespace": "acme",
            "plan": "vision",
            "revision": "3f9c-2",
            "plane": "model",
        },
        "annotations": {
            "summary": "plan vision was rolled back: accuracy-0.61 is too low",
            "description": (
                "plan vision was rolled back: accuracy-0.61 is too low. Backstay returned the devices, saw health come "
                "back, and froze the version. Mend the version; it ships again only once its hold is deleted: "
                "kubectl get holds -n acme"
            ),
            "runbook_url": "https://backstay.dev/docs/runbooks/rolled-back.md",
        },
        "startsAt": "2025-03-01T12:00:00+00:00",
        "endsAt": "2025-03-01T12:05:00+00:00",
    }


async def test_raise_leaves_the_plane_out_when_the_page_is_of_none(pages, receiver):
    await pages.raise_([page(plane=None)])
    assert "plane" not in receiver.taken[0]["labels"]


async def test_raise_sends_utc_when_a_time_is_of_another_zone(pages, receiver):
    berlin = timezone(timedelta(hours=1))
    await pages.raise_([replace(page(), starts_at=NOW.astimezone(berlin))])
    assert receiver.taken[0]["startsAt"] == "2025-03-01T12:00:00+00:00"


async def test_raise_sends_all_at_once_when_there_are_many(pages, receiver):
    await pages.raise_([page(kind) for kind in AlertKind])
    assert [alert["labels"]["alertname"] for alert in receiver.taken] == list(AlertKind)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_raise_is_unavailable_when_the_receiver_is_in_trouble(pages, receiver, status):
    receiver.answer = web.Response(status=status, text="not\nnow")
    with pytest.raises(Unavailable, match=f"did not take 1 pages: it answered {status} not now"):
        await pages.raise_([page()])


@pytest.mark.parametrize("status", [302, 400, 401, 404])
async def test_raise_is_refused_when_asking_again_would_not_help(pages, receiver, status):
    receiver.answer = web.Response(status=status, text='"bad start time"')
    with pytest.raises(Refused, match=f'it answered {status} "bad start time"; check the address'):
        await pages.raise_([page()])


async def test_raise_is_unavailable_when_there_is_no_answer_in_time(pages, receiver):
    receiver.waits_seconds = 2.0
    with pytest.raises(Unavailable, match=r"no answer within 0\.3 s"):
        await pages.raise_([page()])


async def test_raise_is_unavailable_when_nobody_listens():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with aiohttp.ClientSession() as session:
            nobody = Alertmanager(session, f"http://127.0.0.1:{taken.getsockname()[1]}")
            with pytest.raises(Unavailable, match="did not take 1 pages: Cannot connect"):
                await nobody.raise_([page()])


# What a page says


@pytest.mark.parametrize("kind", AlertKind)
def test_page_says_what_happened_what_was_done_and_what_is_next_when_it_is_of_any_kind(kind):
    said = page(kind)
    assert said.description.startswith(f"{said.summary}. Backstay ")
    assert "kubectl " in said.description
    assert said.description.endswith("-n acme")
    assert "{" not in said.description


def test_page_is_critical_when_devices_are_bad_now():
    critical = {kind for kind in AlertKind if page(kind).severity is Severity.CRITICAL}
    assert critical == {AlertKind.ROLLING_BACK, AlertKind.UNRESOLVED, AlertKind.HALTED}


def test_page_keeps_braces_when_a_summary_has_some():
    alert = Alert(AlertKind.BLOCKED, "m{x} cannot {look}")
    said = page_for(
        alert, namespace="acme", plan="vision", revision=RevisionName("r"), starts_at=NOW, ends_at=LATER
    ).description
    assert said.startswith("m{x} cannot {look}. Backstay")


async def test_raise_links_to_the_runbook_of_the_kind_where_runbooks_are_kept(receiver):
    app = web.Application()
    app.router.add_post("/api/v2/alerts", receiver.take)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        await Alertmanager(session, str(server.make_url("")), runbooks="https://wiki.example/backstay/").raise_(
            [page()]
        )
    assert receiver.taken[0]["annotations"]["runbook_url"] == "https://wiki.example/backstay/rolled-back.md"
