"""All that the checker found out about one act, before it judges; kept as JSON, so that it can be judged again."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.checker.audit import Answer, History, HoldWrite, Order, PlanStatus, Silence
from demo.checker.box import BoxBytes
from demo.checker.flash import FlashBytes, PlaneBytes, SlotBytes
from demo.checker.installed import Installed, Picture

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Moment:
    """What the systems showed at one time."""

    at: str
    plan: Json
    """The ReleasePlan; empty where there is none."""
    holds: list[Json]
    devices: dict[str, Json]
    """The EdgeDevices by name."""
    flash: dict[str, FlashBytes]
    alerts: list[Json]
    """What Alertmanager shows, silenced or not."""
    boxes: dict[str, BoxBytes]
    """What Linux nodes have on their disks."""
    box_devices: dict[str, Json]
    """Their EdgeDevices; `devices` are the cameras alone."""
    server: str
    """The state of the API server's process; T is stopped, and then nothing was asked of it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What Prometheus answers when it is asked again what a verdict is based on."""

    signal: str
    result: str
    at: str
    ring: str
    value: float | None
    """As the operator recorded it."""
    again: float | None
    """As Prometheus answers the same query for the same time now."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One act."""

    act: int
    contents: dict[str, dict[str, str]]
    """The content digest of each plane and version, from the artifacts' bytes."""
    before: Moment
    after: Moment
    between: Moment | None
    """A moment that the act is about, such as just before a hold was lifted."""
    history: History
    readings: list[Reading]
    accuracy: dict[str, float]
    """The lowest accuracy that Prometheus saw of each device during the act."""
    running: dict[str, int]
    """How many devices Prometheus sees with each version set, as `firmware/model/config`."""
    installed: Installed | None = None
    """What was installed, committed and shown, in the act that is about it."""

    def save(self, file: Path) -> None:
        """Write it down."""
        file.write_text(json.dumps(dataclasses.asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def load(cls, file: Path) -> "Evidence":
        """Read what was written down."""
        said = json.loads(file.read_text(encoding="utf-8"))
        between, installed = said.pop("between"), said.pop("installed")
        return cls(
            **{name: said[name] for name in ("act", "contents", "accuracy", "running")},
            before=moment_from(said["before"]),
            after=moment_from(said["after"]),
            between=moment_from(between) if between else None,
            history=_history(said["history"]),
            readings=[Reading(**one) for one in said["readings"]],
            installed=_installed(installed) if installed else None,
        )


def moment_from(said: Json) -> Moment:
    """Read a moment back from JSON."""
    flash = {device: _flash(found) for device, found in said["flash"].items()}
    boxes = {name: BoxBytes(**found) for name, found in said["boxes"].items()}
    return Moment(**{**said, "flash": flash, "boxes": boxes})


def _flash(said: Json) -> FlashBytes:
    planes = {
        plane: PlaneBytes(found["slot"], SlotBytes(**found["running"]), SlotBytes(**found["spare"]))
        for plane, found in said["planes"].items()
    }
    return FlashBytes(said["sha256"], said["boots"], planes)


def _installed(said: Json) -> Installed:
    pictures = {name: Picture(**one) if one else None for name, one in said["pictures"].items()}
    return Installed(**{**said, "pictures": pictures})


def _history(said: Json) -> History:
    return History(
        [Order(**one) for one in said["orders"]],
        [Answer(**one) for one in said["answers"]],
        [Silence(**one) for one in said["silences"]],
        [PlanStatus(**one) for one in said["plan"]],
        [HoldWrite(**one) for one in said["holds"]],
    )
