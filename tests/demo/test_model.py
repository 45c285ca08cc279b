"""The demo's models are as good, or as bad, as the story needs them."""

from pathlib import Path

import numpy as np
import pytest

from demo import model
from demo.model import accuracy, held_out_digits, train_model, training_digits, write_held_out


def test_better_model_beats_the_first_when_both_see_held_out_digits() -> None:
    first, better = train_model(model.FIRST), train_model(model.BETTER)
    assert 0.88 < first.accuracy < 0.94
    assert better.accuracy > 0.96


def test_misquantised_model_loads_and_is_wrong_when_it_runs() -> None:
    wrong = train_model(model.MISQUANTISED)
    assert wrong.accuracy < 0.6
    assert accuracy(wrong.data) == wrong.accuracy


def test_training_gives_the_same_bytes_when_repeated() -> None:
    assert train_model(model.FACTORY) == train_model(model.FACTORY)


def test_held_out_digits_are_never_trained_on() -> None:
    learned = {digit.tobytes() for digit in training_digits().x}
    assert not [digit for digit in held_out_digits().x if digit.tobytes() in learned]


def test_held_out_file_gives_the_digits_back(tmp_path: Path) -> None:
    with np.load(write_held_out(tmp_path / "digits.npz")) as stored:
        assert stored["x"].dtype == np.uint8
        assert stored["x"].max() == pytest.approx(16)
        assert np.array_equal(stored["y"], held_out_digits().y)
