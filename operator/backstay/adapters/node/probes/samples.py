"""Golden samples: inputs with the outputs that a model must give for them, and how far off they may be.

They come with the model artifact, as one JSON file (`docs/reference/probes.md`):

    {"tolerances": {"probabilities": {"absolute": 0.02, "relative": 0.0}},
     "samples": [{"inputs": [{"name", "shape", "datatype", "data"}, …], "outputs": [{"name", "data"}, …]}, …]}

Inputs are sent as they stand. An output without a tolerance must be the same.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import orjson

LARGEST_BYTES: Final = 4 * 1024 * 1024
"""Read, they take some five times as much of the small memory of an agent."""
MOST_SAMPLES: Final = 1000

Value = float | int | bool | str


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a number may be from the golden one: `absolute + relative * |golden|`."""

    absolute: float = 0.0
    relative: float = 0.0

    def allows(self, found: Value, golden: Value) -> bool:
        """Tell whether a value is close enough; texts and truth values must be the same, and NaN never is."""
        if isinstance(golden, str | bool) or isinstance(found, str | bool):
            return type(found) is type(golden) and found == golden
        return abs(found - golden) <= self.absolute + self.relative * abs(golden)


EXACT: Final = Tolerance()


@dataclass(frozen=True, slots=True)
class Sample:
    """One request and its golden outputs, by name and flat."""

    inputs: tuple[Mapping[str, Any], ...]
    outputs: Mapping[str, tuple[Value, ...]]


@dataclass(frozen=True, slots=True)
class GoldenSamples:
    """What a model must answer."""

    samples: tuple[Sample, ...]
    tolerances: Mapping[str, Tolerance] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file of samples.

        Raises:
            OSError: it cannot be read.
            ValueError: it is too large, or is not what it should be; says what.
        """
        if (size_bytes := path.stat().st_size) > LARGEST_BYTES:
            raise ValueError(f"the samples are {size_bytes} bytes, at most {LARGEST_BYTES} are read")
        return cls.parse(path.read_bytes())

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read samples from JSON.

        Raises:
            ValueError: it is not what it should be; says what.
        """
        try:
            document = orjson.loads(data)
            tolerances = {str(name): _tolerance(found) for name, found in document.get("tolerances", {}).items()}
            samples = tuple(_sample(found) for found in document["samples"])
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"the samples are not a JSON object with samples: {error!r}") from error
        if not 1 <= len(samples) <= MOST_SAMPLES:
            raise ValueError(f"there are {len(samples)} samples, not between 1 and {MOST_SAMPLES}")
        return cls(samples, tolerances)

    def disagreement(self, sample: Sample, answer: Mapping[str, Any]) -> str | None:
        """Where an answer is not what it should be, in words; None if it is."""
        found = _by_name(answer.get("outputs"))
        for name, golden in sample.outputs.items():
            if (values := found.get(name)) is None:
                return f"output {name} is missing"
            if len(values) != len(golden):
                return f"output {name} has {len(values)} values, not {len(golden)}"
            tolerance = self.tolerances.get(name, EXACT)
            for at, (value, wanted) in enumerate(zip(values, golden, strict=True)):
                if not tolerance.allows(value, wanted):
                    return f"output {name}[{at}] is {value}, not {wanted}"
        return None


def _sample(found: Mapping[str, Any]) -> Sample:
    inputs, outputs = tuple(found["inputs"]), {str(one["name"]): tuple(_flat(one["data"])) for one in found["outputs"]}
    if not inputs or not any(outputs.values()):
        raise ValueError("a sample needs inputs and golden outputs")
    for tensor in inputs:
        if missing := {"name", "shape", "datatype", "data"} - tensor.keys():
            raise ValueError(f"an input of a sample lacks {', '.join(sorted(missing))}")
    return Sample(inputs, outputs)


def _tolerance(found: Mapping[str, Any]) -> Tolerance:
    if unknown := found.keys() - {"absolute", "relative"}:
        raise ValueError(f"a tolerance has absolute and relative, not {', '.join(sorted(unknown))}")
    made = Tolerance(float(found.get("absolute", 0)), float(found.get("relative", 0)))
    if not all(math.isfinite(one) and one >= 0 for one in (made.absolute, made.relative)):
        raise ValueError(f"a tolerance is a number from 0, not {made.absolute:g} or {made.relative:g}")
    return made


def _by_name(outputs: object) -> dict[str, tuple[Value, ...]]:
    found = outputs if isinstance(outputs, list) else []
    return {
        str(one.get("name")): tuple(_flat(one["data"]))
        for one in found
        if isinstance(one, dict) and isinstance(one.get("data"), list)
    }


def _flat(data: Iterable[Any]) -> Iterator[Value]:
    """A tensor's values in row-major order, whether it is nested or flat."""
    for one in data:
        if isinstance(one, list):
            yield from _flat(one)
        elif isinstance(one, float | int | str):  # bool is an int
            yield one
        else:
            raise TypeError(f"{one!r} is no value of a tensor")
