"""`python -m demo.first_release DIRECTORY KEY BRIDGE`: what the tutorial's first release needs; nothing is started.

Models good and bad, what the cameras come with from the factory, and the fleet file of eight simulated cameras,
whose tokens are made of the tenant's key.
"""

import json
import os
import sys
from pathlib import Path
from typing import Final

from backstay.bridge.tokens import target_token
from demo import config, model
from demo.firmware.build import Behaviour, build_firmware

GATEWAY: Final = "gw-1"
NAMESPACE: Final = "acme"
CAMERAS: Final = tuple(f"cam-{number}" for number in range(1, 9))
VERSION: Final = "1.0.0"
ARGUMENTS: Final = 3


def make(directory: Path, key: str, bridge: str, namespace: str = NAMESPACE) -> None:
    """Write everything into a directory; the fleet file holds tokens and is the owner's alone."""
    directory.mkdir(parents=True, exist_ok=True)
    build_firmware(VERSION, Behaviour.SOUND, directory / "firmware-1.0.0.bin")
    for recipe in (model.FIRST, model.BETTER, model.MISQUANTISED):
        trained = model.train_model(recipe)
        (directory / f"model-{recipe.version}.bin").write_bytes(trained.data)
        sys.stdout.write(f"model {recipe.version} reads {trained.accuracy:.0%} of the digits that it never saw\n")
    (directory / "config-1.0.0.json").write_bytes(config.FIRST.data)
    model.write_held_out(directory / "digits.npz")
    fleet = directory / "cameras.json"
    fleet.unlink(missing_ok=True)
    with open(os.open(fleet, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:  # noqa: PTH123
        json.dump(_fleet(key, bridge, namespace), out, indent=1)


def _fleet(key: str, bridge: str, namespace: str) -> dict[str, object]:
    return {
        "bridge": {GATEWAY: bridge},
        "namespace": namespace,
        "digits": "digits.npz",
        "factory": {
            "firmware": {"path": "firmware-1.0.0.bin"},
            "model": {"path": "model-1.0.0.bin", "version": VERSION},
            "config": {"path": "config-1.0.0.json", "version": VERSION},
        },
        "devices": [
            {"name": name, "gateway": GATEWAY, "token": target_token(key.encode(), name, 1)} for name in CAMERAS
        ],
    }


def main(arguments: list[str]) -> int:
    """Make the files, or say how to ask for them."""
    if len(arguments) != ARGUMENTS:
        sys.stderr.write("usage: python -m demo.first_release DIRECTORY KEY BRIDGE\n")
        return 2
    directory, key, bridge = arguments
    make(Path(directory), key, bridge)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
