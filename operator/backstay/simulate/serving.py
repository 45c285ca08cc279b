"""What the device is there for: it looks through its camera and says which digit it sees.

The held-out digits stand for what the camera sees. Accuracy is over the last 100 answers of the model that serves
now; a sample on which the model is less sure than the config's threshold gets no answer.
"""

import json
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np

from backstay.errors import Refused
from backstay.simulate.inference import Labels, Model, Pixels

GOLDEN_SAMPLES: Final = 50
_WINDOW: Final = 100
SHORTEST_INTERVAL_SECONDS: Final = 0.02
LONGEST_INTERVAL_SECONDS: Final = 60.0
MOST_FRAMES: Final = 1000


class BadConfig(Refused):
    """The bytes are not a configuration that the device can run with."""


@dataclass(frozen=True, slots=True)
class Config:
    """What the device takes from its config payload; the schema in the artifact says the rest."""

    confidence: float = 0.5
    interval_seconds: float = 1.0
    frames: int = 10

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the JSON payload; what the device does not know, it ignores.

        Raises:
            BadConfig: it is not such a JSON object, or a value is out of range; says which.
        """
        try:
            found = json.loads(data)
            confidence = float(found["thresholds"]["confidence"])
            interval = float(found["sampling"]["intervalMilliseconds"]) / 1000
            frames = int(found["sampling"]["framesPerReport"])
        except KeyError as error:
            raise BadConfig(f"the config lacks {error}") from error
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise BadConfig(f"the config is not a JSON object with thresholds and sampling: {error}") from error
        if not 0 <= confidence <= 1:
            raise BadConfig(f"thresholds.confidence is {confidence}, not between 0 and 1")
        if not SHORTEST_INTERVAL_SECONDS <= interval <= LONGEST_INTERVAL_SECONDS:
            raise BadConfig(f"sampling.intervalMilliseconds is {interval * 1000:g}, not between 20 and 60000")
        if not 1 <= frames <= MOST_FRAMES:
            raise BadConfig(f"sampling.framesPerReport is {frames}, not between 1 and {MOST_FRAMES}")
        return cls(confidence, interval, frames)


@dataclass(frozen=True, slots=True, eq=False)
class Digits:
    """Held-out digits: `x` uint8[n, 64] with values to 16, `y` the true digit of each."""

    x: Pixels
    y: Labels

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read an .npz with the arrays `x` and `y`.

        Raises:
            Refused: the file is not there or holds something else.
        """
        try:
            with np.load(path) as file:
                digits = cls(file["x"].astype(np.uint8), file["y"].astype(np.int64))
        except (OSError, KeyError, ValueError) as error:
            raise Refused(f"{path} is no set of digits (an .npz with x and y): {error}") from error
        if not len(digits.y) or digits.x.shape[:1] != digits.y.shape:
            raise Refused(f"{path} has {len(digits.x)} pictures and {len(digits.y)} labels; one of each is needed")
        return digits


class Serving:
    """A model at work; a new one is made whenever the model or the config changes."""

    def __init__(self, model: Model | None, config: Config | None, digits: Digits, seed: int) -> None:
        self.model, self.config = model, config or Config()
        self._digits, self._random = digits, np.random.default_rng(seed)
        self._recent: deque[bool] = deque(maxlen=_WINDOW)
        self._next = 0.0
        self.answers = 0
        self.latency_seconds: float | None = None

    @property
    def accuracy(self) -> float | None:
        """The share of right answers among the last hundred; None before there are any."""
        return sum(self._recent) / len(self._recent) if self._recent else None

    def due_seconds(self, now: float) -> float | None:
        """How long until it is time to look again; None without a model."""
        return None if self.model is None else max(0.0, self._next - now)

    def sample(self, now: float) -> None:
        """Look once, if the config's interval says that it is time."""
        if self.model is None or now < self._next:
            return
        self._next = now + self.config.interval_seconds
        chosen = self._random.integers(0, len(self._digits.y), min(self.config.frames, _WINDOW))
        begun = time.perf_counter()
        labels, confidence = self.model.classify(self._digits.x[chosen])
        self.latency_seconds = (time.perf_counter() - begun) / len(chosen)
        sure = confidence >= self.config.confidence
        self._recent.extend((labels == self._digits.y[chosen])[sure].tolist())
        self.answers += int(sure.sum())

    def agreement(self) -> tuple[float, float]:
        """Replay the golden samples: the share that comes out right, and the seconds that one sample took."""
        if self.model is None:
            return 0.0, 0.0
        golden = self._digits.x[:GOLDEN_SAMPLES]
        begun = time.perf_counter()
        right = self.model.predict(golden) == self._digits.y[:GOLDEN_SAMPLES]
        return float(right.mean()), (time.perf_counter() - begun) / len(golden)
