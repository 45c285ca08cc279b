"""What this replica has to show: nothing until it leads and has seen everything."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from backstay.errors import BackstayError
from backstay.ports.overview import Overview


@dataclass(slots=True)
class Outlook:
    """Filled in by the operator once it leads."""

    leader: Callable[[], Awaitable[str]]
    """Asks who leads; empty where nobody does."""
    overview: Overview | None = None

    def show(self, overview: Overview) -> None:
        """Show this from now on."""
        self.overview = overview

    async def why_nothing(self) -> str:
        """Why there is nothing to show, for whoever asked this replica."""
        try:
            leader = await self.leader()
        except BackstayError as error:
            return f"this replica does not lead, and who does is not known: {error}"
        who = f"{leader} leads" if leader else "nobody leads yet"
        return f"this replica has nothing to show: {who}. Ask the leader, or this one again in a moment"
