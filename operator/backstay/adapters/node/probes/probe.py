"""What every probe of a node is: it measures within its time, and it never raises."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from backstay.adapters.node.probes.off_loop import off_loop
from backstay.adapters.node.probes.surroundings import Surroundings
from backstay.core.device import Probe
from backstay.core.probing import Measurement
from backstay.errors import BackstayError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found."""

    passed: bool
    detail: str
    fault: str = ""
    shortfall: float = 0.0


def fine(detail: str) -> Finding:
    """What was looked at is as it should be."""
    return Finding(passed=True, detail=detail)


def amiss(fault: str, detail: str, shortfall: float = 0.0) -> Finding:
    """What was looked at is not as it should be; the fault is a word that is the same at the next look."""
    return Finding(passed=False, detail=detail, fault=fault, shortfall=shortfall)


class NodeProbe(ABC):
    """A check of this node.

    Raises:
        ValueError: on being made, where a setting is missing or wrong; says which.
    """

    timeout_seconds: ClassVar[float] = 10.0
    excusable: ClassVar[bool] = True
    """Whether a fault from before a change excuses it; see `core.probing`."""

    def __init__(self, probe: Probe, surroundings: Surroundings) -> None:
        self.probe = probe
        self.surroundings = surroundings

    @abstractmethod
    async def look(self) -> Finding:
        """Measure once; OSError and what Backstay can name become failures."""

    async def run(self) -> Measurement:
        """Measure once within the probe's time; raises nothing."""
        found = await self._found()
        return Measurement(self.probe.name, found.passed, found.detail, found.fault, found.shortfall)

    def setting(self, name: str) -> str:
        """A setting that the kind needs.

        Raises:
            ValueError: it is not there.
        """
        if not (found := self.probe.setting(name)):
            raise ValueError(f"{self.probe.kind} needs {name}")
        return found

    def read(self, name: str, reader: Callable[[str], T], default: str | None = None) -> T:
        """A setting as a quantity.

        Raises:
            ValueError: it is missing, or cannot be read.
        """
        text = self.setting(name) if default is None else self.probe.setting(name) or default
        try:
            return reader(text)
        except ValueError as error:
            raise ValueError(f"{name} of {self.probe.kind}: {error}") from error

    async def _found(self) -> Finding:
        try:
            async with asyncio.timeout(self.timeout_seconds):
                return await self.look()
        except TimeoutError:
            return amiss("NoAnswer", f"gave no answer within {self.timeout_seconds:g} s")
        except OSError as error:
            return amiss(type(error).__name__, f"could not be measured: {error}")
        except BackstayError as error:
            return amiss("Unavailable", str(error))
        except Exception as error:  # noqa: BLE001 - a probe that breaks has not passed, and must not end the agent
            return amiss("Broken", f"the probe itself broke: {type(error).__name__}: {error}")


class FileProbe(NodeProbe):
    """A check of files and devices, which may block."""

    _hung: bool = False

    @abstractmethod
    def examine(self) -> Finding:
        """Measure once, in a thread of its own."""

    async def look(self) -> Finding:
        """Measure away from the loop, one look at a time."""
        if self._hung:
            return amiss("NoAnswer", "an earlier look still waits for the kernel or its driver; look at dmesg")
        return await off_loop(self._examined)

    def _examined(self) -> Finding:
        self._hung = True
        try:
            return self.examine()
        finally:
            self._hung = False
