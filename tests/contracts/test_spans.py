"""Spans arrive at a collector, each with its parent; and nothing is loaded where nobody asks for them."""

import asyncio
import subprocess
import sys

import pytest

from backstay.adapters.spans import ENDPOINT, spans_of
from backstay.errors import Refused
from backstay.ports.spans import NoSpans
from tests.contracts.otlp_receiver import attributes, collector


async def test_spans_arrive_with_their_parents_also_from_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector() as found:
        monkeypatch.setenv(ENDPOINT, found.url)
        async with spans_of({ENDPOINT: found.url}, "backstay-operator") as spans:

            async def write(device: str) -> None:
                with spans.span("write", resource="edgedevices", device=device):
                    await asyncio.sleep(0)

            with spans.span("apply", plan="vision", ring=""):
                async with asyncio.TaskGroup() as group:
                    for number in range(3):
                        group.create_task(write(f"cam-{number}"))
    assert found.services == {"backstay-operator"}
    (apply,) = found.named("apply")
    assert attributes(apply) == {"backstay.plan": "vision"}
    writes = found.named("write")
    assert sorted(attributes(span)["backstay.device"] for span in writes) == ["cam-0", "cam-1", "cam-2"]
    assert {span.parent_span_id for span in writes} == {apply.span_id}
    assert {span.trace_id for span in writes} == {apply.trace_id}


async def test_error_is_noted_in_its_span_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector() as found:
        monkeypatch.setenv(ENDPOINT, found.url)
        async with spans_of({ENDPOINT: found.url}, "x") as spans:
            with pytest.raises(Refused), spans.span("decide"):
                raise Refused("no")
    (decide,) = found.named("decide")
    assert decide.status.code == 2
    assert decide.events[0].name == "exception"


async def test_nothing_is_sent_when_nobody_asks() -> None:
    async with spans_of({}, "x") as spans:
        assert isinstance(spans, NoSpans)
        with spans.span("decide", plan="vision"):
            pass


def test_opentelemetry_is_not_loaded_when_nobody_asks() -> None:
    script = (
        "import asyncio, sys, backstay.adapters.spans as s\n"
        "async def main():\n    async with s.spans_of({}, 'x'): pass\n"
        "asyncio.run(main()); sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


async def test_missing_library_is_told_when_traces_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(Refused, match=r"backstay\[tracing\]"):
        async with spans_of({ENDPOINT: "http://127.0.0.1:1"}, "x"):
            pass
