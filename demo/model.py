"""The demo's models: a digit classifier, trained on scikit-learn's real digits and quantised to int8.

One of them is exported wrongly on purpose. Quantisation tools disagree on the sign of the zero point,
`scale * (q - zero)` or `scale * (q + zero)`; a file written by one convention and read by the other loads, runs at
full speed and is wrong.
"""

import json
import warnings
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from backstay.simulate.inference import PIXEL_MAX, Labels, Layer, Pixels, load_model, pack_model

SEED: Final = 7
HELD_OUT_SHARE: Final = 0.3
BATCH_SIZE: Final = 64
LEARNING_RATE: Final = 0.005
INT8_MIN: Final = -128
INT8_MAX: Final = 127
INT8_STEPS: Final = INT8_MAX - INT8_MIN


class ZeroPoint(StrEnum):
    """The convention by which an exporter writes a layer's zero point."""

    SUBTRACTED = "subtracted"
    ADDED = "added"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one version of the model is made; the device's runtime reads the zero point as subtracted."""

    version: str
    hidden: int
    epochs: int
    zero_point: ZeroPoint = ZeroPoint.SUBTRACTED


FACTORY: Final = Recipe("0.9.0", hidden=8, epochs=8)
FIRST: Final = Recipe("1.0.0", hidden=16, epochs=8)
BETTER: Final = Recipe("1.1.0", hidden=96, epochs=60)
MISQUANTISED: Final = Recipe("1.2.0", hidden=96, epochs=60, zero_point=ZeroPoint.ADDED)
# Of the boxes; what is frozen for cameras is frozen by its bytes, for everybody.
FOR_BOXES: Final = Recipe("3.0.0", hidden=32, epochs=30)
MISQUANTISED_FOR_BOXES: Final = Recipe("3.1.0", hidden=32, epochs=30, zero_point=ZeroPoint.ADDED)
GOLDEN: Final = 20


@dataclass(frozen=True, slots=True, eq=False)
class Digits:
    """Handwritten digits, 8 by 8 pixels from 0 to 16: `x` uint8[n, 64] and `y` int64[n]."""

    x: Pixels
    y: Labels


@dataclass(frozen=True, slots=True)
class DigitModel:
    """One version of the classifier as a device gets it, and the share of the held-out digits it recognises."""

    version: str
    data: bytes
    accuracy: float


def training_digits() -> Digits:
    """The digits that models learn from; none of them is held out."""
    return _digits()[0]


def held_out_digits() -> Digits:
    """The digits that no model was trained on, the same ones in every run."""
    return _digits()[1]


def write_held_out(out: Path) -> Path:
    """Write the held-out digits as an .npz with `x` and `y`, and return its path."""
    digits = held_out_digits()
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out, x=digits.x, y=digits.y)
    return out


def train_model(recipe: Recipe) -> DigitModel:
    """Train, quantise and pack one version; its accuracy is measured on the packed bytes."""
    digits = training_digits()
    classifier = MLPClassifier(
        (recipe.hidden,),
        batch_size=BATCH_SIZE,
        learning_rate_init=LEARNING_RATE,
        max_iter=recipe.epochs,
        random_state=SEED,
    )
    with warnings.catch_warnings():
        # The number of epochs is the recipe's choice: stopping early is how an earlier version is a worse one.
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(digits.x / PIXEL_MAX, digits.y)
    layers = [_quantised(w.T, b) for w, b in zip(classifier.coefs_, classifier.intercepts_, strict=True)]
    data = pack_model([_exported(layer, recipe.zero_point) for layer in layers])
    return DigitModel(recipe.version, data, accuracy(data))


def golden_samples(recipe: Recipe) -> bytes:
    """Held-out digits with what the model answers as it was trained, however it was exported; as probes read them."""
    trained = load_model(train_model(replace(recipe, zero_point=ZeroPoint.SUBTRACTED)).data)
    pixels = held_out_digits().x[:GOLDEN]
    samples = [
        {
            "inputs": [{"name": "pixels", "shape": [1, len(one)], "datatype": "UINT8", "data": one.tolist()}],
            "outputs": [{"name": "digit", "data": [int(digit)]}, {"name": "probability", "data": [float(probability)]}],
        }
        for one, digit, probability in zip(pixels, *trained.classify(pixels), strict=True)
    ]
    return json.dumps({"tolerances": {"probability": {"absolute": 0.01}}, "samples": samples}).encode()


def accuracy(model: bytes) -> float:
    """The share of the held-out digits that the device's runtime recognises with this model file."""
    digits = held_out_digits()
    return float(np.mean(load_model(model).predict(digits.x) == digits.y))


def _digits() -> tuple[Digits, Digits]:
    x, y = load_digits(return_X_y=True)
    learn_x, held_x, learn_y, held_y = train_test_split(
        x.astype(np.uint8), y.astype(np.int64), test_size=HELD_OUT_SHARE, random_state=SEED, stratify=y
    )
    return Digits(learn_x, learn_y), Digits(held_x, held_y)


def _quantised(weights: npt.NDArray[np.float64], bias: npt.NDArray[np.float64]) -> Layer:
    low, high = min(float(weights.min()), 0.0), max(float(weights.max()), 0.0)
    scale = (high - low) / INT8_STEPS
    zero = round(INT8_MIN - low / scale)
    steps = np.clip(np.round(weights / scale) + zero, INT8_MIN, INT8_MAX).astype(np.int8)
    return Layer(steps, bias.astype(np.float32), scale, zero)


def _exported(layer: Layer, zero_point: ZeroPoint) -> Layer:
    match zero_point:
        case ZeroPoint.SUBTRACTED:
            return layer
        case ZeroPoint.ADDED:
            return replace(layer, zero=-layer.zero)
