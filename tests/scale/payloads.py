"""What the devices of the large fleets run: genuine files, small for the factory and 100 KiB for the release."""

import json
from pathlib import Path
from typing import Final

import numpy as np

from backstay.core.planes import Plane
from backstay.simulate.factory import Payload
from backstay.simulate.inference import Layer, pack_model
from tests.simulate.workbench import digits, image, model

HIDDEN: Final = 1460
DIGITS: Final = 4
LONGEST_INTERVAL_MS: Final = 60_000


def large_model() -> bytes:
    """A model of 100 KiB that sees the workbench's four digits; most of its neurons are not listened to."""
    random = np.random.default_rng(11)
    first = random.integers(-5, 5, (HIDDEN, 64)).astype(np.int8)
    first[:DIGITS] = -10
    second = np.zeros((DIGITS, HIDDEN), np.int8)
    for digit in range(DIGITS):
        first[digit, digit * 16 : digit * 16 + 16] = 100
        second[digit, digit] = 100
    hidden = Layer(first, np.zeros(HIDDEN, np.float32), 0.05)
    return pack_model([hidden, Layer(second, np.zeros(DIGITS, np.float32), 0.01)])


def quiet_config(confidence: float) -> bytes:
    """A config under which a device looks through its camera as seldom as it may."""
    sampling = {"intervalMilliseconds": LONGEST_INTERVAL_MS, "framesPerReport": 10}
    return json.dumps({"thresholds": {"confidence": confidence}, "sampling": sampling}).encode()


def factory() -> dict[Plane, Payload]:
    """What every device leaves the factory with."""
    return {
        Plane.FIRMWARE: Payload(image("1.0.0"), "1.0.0"),
        Plane.MODEL: Payload(model(1), "1.0.0", {"firmware": ">=1.0.0"}),
        Plane.CONFIG: Payload(quiet_config(0.4), "1.0.0", {"model": ">=1.0.0"}),
    }


def write_digits(out: Path) -> Path:
    """Write what the devices' cameras see, and return its path."""
    np.savez(out, x=digits().x, y=digits().y)
    return out
