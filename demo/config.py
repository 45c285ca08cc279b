"""The demo's configurations: thresholds, sampling and flags, each with the JSON Schema that says what is valid."""

import json
from dataclasses import dataclass, field
from typing import Any, Final

Json = dict[str, Any]

SCHEMA: Final[Json] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Configuration of the digit camera",
    "type": "object",
    "additionalProperties": False,
    "required": ["thresholds", "sampling", "flags"],
    "properties": {
        "thresholds": {
            "type": "object",
            "additionalProperties": False,
            "required": ["confidence", "temperatureCelsius"],
            "properties": {
                "confidence": {
                    "description": "A digit recognised with less probability than this is not reported.",
                    "type": "number",
                    "minimum": 0,
                    "maximum": 1,
                },
                "temperatureCelsius": {
                    "description": "Above this the camera halves its frame rate.",
                    "type": "number",
                    "minimum": -40,
                    "maximum": 105,
                },
            },
        },
        "sampling": {
            "type": "object",
            "additionalProperties": False,
            "required": ["intervalMilliseconds", "framesPerReport"],
            "properties": {
                "intervalMilliseconds": {"type": "integer", "minimum": 20, "maximum": 60000},
                "framesPerReport": {"type": "integer", "minimum": 1, "maximum": 1000},
            },
        },
        "flags": {
            "type": "object",
            "additionalProperties": {"type": "boolean"},
            "maxProperties": 32,
        },
    },
}


@dataclass(frozen=True, slots=True)
class Config:
    """One version of the configuration, and what it requires of the other planes."""

    version: str
    values: Json
    requires: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> bytes:
        """The bytes as a device stores them: the same values always give the same bytes."""
        return _encoded(self.values)


def schema_bytes() -> bytes:
    """The JSON Schema as it travels inside the artifact."""
    return _encoded(SCHEMA)


def _values(confidence: float, interval_milliseconds: int, frames_per_report: int, **flags: bool) -> Json:
    return {
        "thresholds": {"confidence": confidence, "temperatureCelsius": 70},
        "sampling": {"intervalMilliseconds": interval_milliseconds, "framesPerReport": frames_per_report},
        "flags": flags,
    }


def _encoded(value: Json) -> bytes:
    return json.dumps(value, indent=2, sort_keys=True).encode() + b"\n"


FACTORY: Final = Config("0.9.0", _values(0.5, 1000, 10, reportRejected=False))
FIRST: Final = Config("1.0.0", _values(0.6, 500, 20, reportRejected=False), {"model": ">=1.0.0,<9.0.0"})
NEXT: Final = Config("1.1.0", _values(0.7, 250, 40, reportRejected=True), {"model": ">=1.0.0,<9.0.0"})
LATER: Final = Config("1.2.0", _values(0.75, 250, 40, reportRejected=True), {"model": ">=1.0.0,<9.0.0"})
NEEDS_UNKNOWN_MODEL: Final = Config("2.0.0", _values(0.8, 250, 40, reportRejected=True), {"model": ">=9.0.0"})
