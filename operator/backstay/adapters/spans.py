"""Spans to an OpenTelemetry collector, by OTLP over HTTP; off unless the environment says where to.

`OTEL_EXPORTER_OTLP_ENDPOINT` turns it on; everything else that OpenTelemetry reads from the environment counts as well,
such as `OTEL_TRACES_SAMPLER` and `OTEL_SERVICE_NAME`.

Source: https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Final

from backstay.errors import Refused
from backstay.ports.spans import NoSpans, Spans

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
SERVICE: Final = "OTEL_SERVICE_NAME"
FAREWELL_MILLISECONDS: Final = 3000

log = logging.getLogger(__name__)


class OpenTelemetrySpans:
    """Hands spans to a tracer of OpenTelemetry."""

    def __init__(self, tracer: "Tracer") -> None:
        self._tracer = tracer

    def span(self, name: str, **attributes: str) -> AbstractContextManager[object]:
        """The block as a span; an error that leaves it is noted in it."""
        named = {f"backstay.{key}": value for key, value in attributes.items() if value}
        return self._tracer.start_as_current_span(name, attributes=named)


@asynccontextmanager
async def spans_of(environment: Mapping[str, str], service: str) -> AsyncIterator[Spans]:
    """Where spans go as the environment says; those that wait are sent at the end, for a moment at most.

    Raises:
        Refused: the environment asks for spans, and this installation has nothing to send them with.
    """
    if not (endpoint := environment.get(ENDPOINT)):
        yield NoSpans()
        return
    try:
        # An extra: 15 MB that most do not need.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        message = f"{ENDPOINT} asks for traces, and OpenTelemetry is not installed: pip install 'backstay[tracing]'"
        raise Refused(message) from error
    named = {} if environment.get(SERVICE) else {"service.name": service}
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    log.info("traces go to %s", endpoint)
    try:
        yield OpenTelemetrySpans(provider.get_tracer("backstay"))
    finally:
        # Both wait for a collector that may be gone.
        await asyncio.to_thread(provider.force_flush, FAREWELL_MILLISECONDS)
        await asyncio.to_thread(provider.shutdown)
