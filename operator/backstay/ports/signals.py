"""Where an operator asks how the devices of a revision are doing."""

from datetime import datetime
from typing import Protocol

from backstay.core.actions import Watch
from backstay.core.signals import Signal, Verdict


class Signals(Protocol):
    """Evaluates health signals; whatever goes wrong on the way is a verdict too, and never a pass."""

    async def evaluate(self, signal: Signal, watch: Watch, namespace: str, plan: str, at: datetime) -> Verdict:
        """Say what one signal says of the watched devices at one time; raises nothing."""
        ...
