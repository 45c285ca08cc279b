"""The model format and its arithmetic."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.simulate.inference import BadModel, Layer, Model, load_model, pack_model


def _layers(seed: int = 0, sizes: tuple[int, ...] = (64, 16, 10), zero: int = 0) -> list[Layer]:
    random = np.random.default_rng(seed)
    return [
        Layer(
            random.integers(-128, 128, (after, before)).astype(np.int8),
            random.normal(size=after).astype(np.float32),
            0.01,
            zero,
        )
        for before, after in pairwise(sizes)
    ]


def test_model_predicts_the_same_when_packed_and_loaded() -> None:
    layers = _layers(zero=3)
    x = np.random.default_rng(1).integers(0, 17, (50, 64)).astype(np.uint8)
    packed = pack_model(layers)
    assert packed == pack_model(layers)
    np.testing.assert_array_equal(load_model(packed).predict(x), Model.of(layers).predict(x))


def test_layer_computes_scale_times_weights_minus_zero_plus_bias() -> None:
    layer = Layer(np.array([[4, -2]], np.int8), np.array([1.0], np.float32), 0.5, 2)
    logits = Model.of([layer], input_max=1.0).logits(np.array([[1, 1]], np.uint8))
    assert logits[0, 0] == 0.5 * (4 - 2) + 0.5 * (-2 - 2) + 1.0


def test_model_puts_relu_between_layers_when_a_value_is_negative() -> None:
    hidden = Layer(np.array([[-1]], np.int8), np.array([0.0], np.float32), 1.0)
    last = Layer(np.array([[1]], np.int8), np.array([7.0], np.float32), 1.0)
    assert Model.of([hidden, last], input_max=1.0).logits(np.array([[5]], np.uint8))[0, 0] == 7.0


@given(st.integers(0, 1700))
def test_load_model_refuses_when_the_file_is_cut_short(length: int) -> None:
    packed = pack_model(_layers())
    with pytest.raises(BadModel):
        load_model(packed[: min(length, len(packed) - 1)])


@given(st.binary(max_size=200))
def test_load_model_refuses_when_the_bytes_are_noise(noise: bytes) -> None:
    for data in (noise, b"BSM1" + noise):
        with pytest.raises(BadModel):
            load_model(data)


def test_pack_model_refuses_when_layers_do_not_fit() -> None:
    with pytest.raises(BadModel, match="gives 16 values and the next one takes 64"):
        pack_model([_layers()[0], _layers()[0]])
