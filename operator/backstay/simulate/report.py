"""What a device says of itself in a health report: read from its bytes, whatever it was told to run."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from backstay.core.planes import ContentDigest, Plane
from backstay.simulate.application import Application

AGENT: Final = "backstay-esp32/0.1.0"
_HEAP_BYTES: Final = 327_680
_RUNTIME_BYTES: Final = 96_000


def health_report(
    app: Application, interval: float, log: Sequence[str], lies: Mapping[Plane, ContentDigest]
) -> dict[str, Any]:
    """Build the body of a report; `lies` replace the running digests of a device that was told to lie."""
    return {
        "planes": {str(plane): _plane(app, plane, lies.get(plane)) for plane in Plane if app.board.release(plane)},
        "slot": str(app.board.app),
        "otadata": app.board.banks[Plane.FIRMWARE].selector.read().pack().hex(),
        "rollbackCapable": app.board.rollback_capable,
        "agent": AGENT,
        "boot": {"reason": str(app.reset_cause), "count": app.boots},
        "probes": [{"name": x.name, "passed": x.passed, "detail": x.detail} for x in app.health()],
        "resources": _resources(app),
        "log": list(log),
        "interval": interval,
    }


def _plane(app: Application, plane: Plane, lie: ContentDigest | None) -> dict[str, str]:
    running, fallback = app.board.release(plane), app.board.banks[plane].fallback
    said = {"running": lie or running.content, "version": running.version} if running else {}
    if fallback:
        said |= {"fallback": fallback.content, "fallbackVersion": fallback.version}
    return said


def _resources(app: Application) -> dict[str, float]:
    serving = app.board.serving
    model = serving.model
    weights = sum(matrix.size for matrix in model.matrices) if model else 0
    figures = {
        "heap_free_bytes": float(_HEAP_BYTES - _RUNTIME_BYTES - weights),
        # The chip warms with the frames that it looks at.
        "temperature_celsius": 36.0 + min(20.0, serving.config.frames / serving.config.interval_seconds / 20),
    }
    if serving.latency_seconds is not None:
        figures["inference_latency_seconds"] = serving.latency_seconds
    if (accuracy := serving.accuracy) is not None:
        figures["inference_accuracy"] = accuracy
    return figures
