"""What this replica has to show: nothing until it leads and has seen everything."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from backstay.ports.overview import Overview

STANDING_BY: Final = (
    "this replica has nothing to show: another one leads, or none does yet. Try again in a moment, at the address that "
    "leads to whichever replica is ready"
)


@dataclass(slots=True)
class Outlook:
    """Filled in by the operator once it leads."""

    who_leads: Callable[[], str]
    """Says who leads, by what this replica has seen anyway: whoever asks must not make it ask the API server."""
    overview: Overview | None = None

    def show(self, overview: Overview) -> None:
        """Show this from now on."""
        self.overview = overview

    def why_nothing(self, *, is_known: bool) -> str:
        """Why there is nothing to show; who leads is told to people alone whom the API server knows."""
        return f"{STANDING_BY}. {self.who_leads()}" if is_known else STANDING_BY
