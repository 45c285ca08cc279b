"""Events at a real API server: each that was recorded is there once, wherever their writer is stopped."""

import asyncio
import contextlib

from backstay.adapters.kube.client import EVENTS, KubeClient
from backstay.adapters.kube.events import EventJournal
from backstay.adapters.system_clock import SystemClock
from backstay.ports.journal import Entry, Subject, Weight

STOPS_AFTER_SECONDS = [step * 0.0007 for step in range(24)]
"""Before the request, while it is answered, and after it."""


def entry(namespace: str, message: str) -> Entry:
    subject = Subject("backstay.dev/v1alpha1", "ReleasePlan", namespace, "vision", "0123")
    return Entry(subject, "RingPromoted", message, Weight.NORMAL)


async def stopped_after(seconds: float, journal: EventJournal) -> None:
    """Let a journal run for a moment, as one does that is told to end."""
    running = asyncio.create_task(journal.run())
    await asyncio.sleep(seconds)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_journal_writes_each_event_once_when_it_is_stopped_anywhere(kube: KubeClient, namespace: str) -> None:
    journal = EventJournal(kube, instance="test", clock=SystemClock())
    for seconds in STOPS_AFTER_SECONDS:
        journal.record(entry(namespace, f"after {seconds}"))
        await stopped_after(seconds, journal)
        await journal.flush()
    written = [event["note"] for event in await kube.list(EVENTS, namespace)]
    assert sorted(written) == sorted(f"after {seconds}" for seconds in STOPS_AFTER_SECONDS)


async def test_journal_counts_what_is_said_again_when_it_is_stopped_anywhere(kube: KubeClient, namespace: str) -> None:
    journal = EventJournal(kube, instance="test", clock=SystemClock())
    for seconds in STOPS_AFTER_SECONDS:
        journal.record(entry(namespace, "the same"))
        await stopped_after(seconds, journal)
        await journal.flush()
    (event,) = await kube.list(EVENTS, namespace)
    assert event["series"]["count"] == len(STOPS_AFTER_SECONDS)
