"""What the simulated devices start from: the factory's versions in their slots, and what their cameras look at.

The laboratory's cameras look at a test card: ones, of those that the first model recognises. That is how a release
passes the laboratory and still fails in the world.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from backstay.bridge.tokens import target_token
from backstay.simulate.inference import load_model
from demo.artifacts import Artifact, Artifacts
from demo.fleet import NAMESPACE, Camera

FLASH: Final = "flash"
TEST_CARD_DIGIT: Final = 1
WATCHDOG_SECONDS: Final = 3.0

Json = dict[str, Any]


def write_fleets(
    directory: Path, cameras: tuple[Camera, ...], artifacts: Artifacts, bridges: Mapping[str, str], key: bytes
) -> dict[str, Path]:
    """Write the fleet file of each simulator process, by the process' name."""
    card = directory / "artifacts" / "test-card.npz"
    write_test_card(artifacts.held_out, artifacts.model_first.file, card)
    laboratory = [camera for camera in cameras if camera.is_in_laboratory]
    world = [camera for camera in cameras if not camera.is_in_laboratory]
    parts = {"cameras-laboratory": (laboratory, card), "cameras-world": (world, artifacts.held_out)}
    files = {}
    for name, (members, digits) in parts.items():
        files[name] = directory / f"{name}.json"
        _write_secret(files[name], _fleet(members, artifacts, digits, bridges, key))
    return files


def write_test_card(held_out: Path, first_model: Path, out: Path) -> None:
    """Choose the pictures of the test card, by what the first model reads right."""
    with np.load(held_out) as digits:
        x, y = digits["x"], digits["y"]
    recognised = load_model(first_model.read_bytes()).predict(x) == y
    chosen = recognised & (y == TEST_CARD_DIGIT)
    np.savez_compressed(out, x=x[chosen], y=y[chosen])


def _fleet(cameras: list[Camera], artifacts: Artifacts, digits: Path, bridges: Mapping[str, str], key: bytes) -> Json:
    factory = (artifacts.firmware_factory, artifacts.model_factory, artifacts.config_factory)
    return {
        "bridge": dict(bridges),
        "namespace": NAMESPACE,
        "digits": str(digits),
        "factory": {str(each.plane): _payload(each) for each in factory},
        "devices": [
            {"name": camera.name, "gateway": camera.gateway, "token": target_token(key, camera.name, 1)}
            for camera in cameras
        ],
        "watchdog_seconds": WATCHDOG_SECONDS,
    }


def _payload(artifact: Artifact) -> Json:
    return {"path": str(artifact.file), "version": artifact.version, "requires": artifact.requires}


def _write_secret(file: Path, content: Json) -> None:
    file.unlink(missing_ok=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:  # noqa: PTH123
        json.dump(content, out, indent=1)
