"""The device's inference runtime: a quantised multilayer perceptron, run as a microcontroller would keep it in flash.

A model file (`BSM1`) is, all little-endian and without padding:

    offset  size                what
    0       4                   b"BSM1"
    4       4                   length H of the header in bytes, u32
    8       H                   header, JSON: {"input": {"max": 16.0}, "layers": [{"in", "out", "scale", "zero"}, …]}
    8 + H   for each layer      weights: int8[out][in] (row-major), then bias: float32[out]

A layer computes `scale * (weights - zero) @ x + bias`; every layer but the last is followed by ReLU, and the last
one's outputs are logits. The input is `uint8` pixels, divided by `input.max`. A file that is shorter or longer than
its header says is refused, so that a truncated download never becomes a model.
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from backstay.errors import Refused

MAGIC = b"BSM1"
PIXEL_MAX = 16.0

Pixels: TypeAlias = npt.NDArray[np.uint8]
Labels: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float32]


class BadModel(Refused):
    """The bytes are not a model that this runtime can load."""


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One dense layer: `weights` int8[out, in] with one scale and zero point for all of them, `bias` float32[out]."""

    weights: npt.NDArray[np.int8]
    bias: Floats
    scale: float
    zero: int = 0

    @property
    def inputs(self) -> int:
        """How many values go in."""
        return int(self.weights.shape[1])

    @property
    def outputs(self) -> int:
        """How many values come out."""
        return int(self.weights.shape[0])

    def dequantised(self) -> Floats:
        """The weights as the arithmetic sees them, float32[out, in]."""
        return (self.weights.astype(np.float32) - np.float32(self.zero)) * np.float32(self.scale)


def pack_model(layers: Sequence[Layer], *, input_max: float = PIXEL_MAX) -> bytes:
    """Return the model file for these layers, the same bytes for the same layers.

    Raises: BadModel when a layer does not fit the one before it or an array has the wrong type.
    """
    _check_chain(layers)
    header = json.dumps(
        {
            "input": {"max": input_max},
            "layers": [{"in": x.inputs, "out": x.outputs, "scale": x.scale, "zero": x.zero} for x in layers],
        },
        separators=(",", ":"),
    ).encode()
    body = b"".join(x.weights.astype("<i1").tobytes() + x.bias.astype("<f4").tobytes() for x in layers)
    return MAGIC + struct.pack("<I", len(header)) + header + body


@lru_cache(maxsize=16)
def load_model(data: bytes) -> "Model":
    """Return the model in these bytes; devices of one process that run the same one share it.

    Raises: BadModel when the magic, the header or the length is wrong; says which.
    """
    if data[:4] != MAGIC:
        raise BadModel(f"not a model file: it starts with {data[:4].hex() or 'nothing'}, not with {MAGIC.hex()} (BSM1)")
    header, body = _split(data)
    try:
        shapes = [(int(x["out"]), int(x["in"]), float(x["scale"]), int(x.get("zero", 0))) for x in header["layers"]]
        input_max = float(header["input"]["max"])
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise BadModel(f"the model's header lacks or misstates {error}") from error
    wanted = sum(outputs * inputs + 4 * outputs for outputs, inputs, _, _ in shapes)
    if any(outputs < 1 or inputs < 1 for outputs, inputs, _, _ in shapes) or len(body) != wanted:
        raise BadModel(f"the model's weights are {len(body)} bytes where its header says {wanted}")
    if not input_max > 0:
        raise BadModel(f"the model's input.max is {input_max}, not a positive number")
    layers, at = [], 0
    for outputs, inputs, scale, zero in shapes:
        weights = np.frombuffer(body, "<i1", outputs * inputs, at).reshape(outputs, inputs)
        bias = np.frombuffer(body, "<f4", outputs, at + outputs * inputs)
        layers.append(Layer(weights, bias, scale, zero))
        at += outputs * inputs + 4 * outputs
    _check_chain(layers)
    return Model.of(layers, input_max)


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A loaded model: what `predict` needs and nothing else."""

    matrices: tuple[Floats, ...]
    biases: tuple[Floats, ...]
    input_max: float

    @classmethod
    def of(cls, layers: Sequence[Layer], input_max: float = PIXEL_MAX) -> Self:
        """Return the runnable form of these layers."""
        matrices = tuple(x.dequantised().T for x in layers)
        for matrix in matrices:
            matrix.flags.writeable = False
        return cls(matrices, tuple(x.bias for x in layers), input_max)

    @property
    def inputs(self) -> int:
        """How many pixels one sample has."""
        return int(self.matrices[0].shape[0])

    def logits(self, x: Pixels) -> Floats:
        """Return float32[n, classes] for uint8[n, inputs]."""
        values: Floats = x.astype(np.float32) / np.float32(self.input_max)
        for matrix, bias in zip(self.matrices[:-1], self.biases[:-1], strict=True):
            values = np.maximum(values @ matrix + bias, np.float32(0))
        return values @ self.matrices[-1] + self.biases[-1]

    def predict(self, x: Pixels) -> Labels:
        """Return the likeliest class of each sample, int[n] for uint8[n, inputs]."""
        labels: Labels = np.argmax(self.logits(x), axis=1)
        return labels

    def classify(self, x: Pixels) -> tuple[Labels, Floats]:
        """Return the likeliest class of each sample and its softmax probability."""
        logits = self.logits(x)
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.argmax(logits, axis=1), shifted.max(axis=1) / shifted.sum(axis=1)


def _split(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(data[4:8], "little")
    if len(data) < 8 + length:
        raise BadModel(f"the model file ends after {len(data)} bytes, inside its header of {length}")
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError) as error:
        raise BadModel(f"the model's header is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise BadModel("the model's header is not a JSON object")
    return header, data[8 + length :]


def _check_chain(layers: Sequence[Layer]) -> None:
    if not layers:
        raise BadModel("a model needs at least one layer")
    for layer in layers:
        if layer.weights.dtype != np.int8 or layer.weights.shape != (*layer.bias.shape, layer.weights.shape[-1]):
            raise BadModel("a layer needs int8 weights[out, in] and one bias for each output")
    for before, after in pairwise(layers):
        if before.outputs != after.inputs:
            raise BadModel(f"a layer gives {before.outputs} values and the next one takes {after.inputs}")
