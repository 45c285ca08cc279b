"""What one device may ask of the bridge, and how many may be connected: nobody's flood is another's outage."""

from dataclasses import dataclass
from typing import Final

REQUESTS_PER_SECOND: Final = 20.0
BURST: Final = 200.0
"""So many requests at once, when a device comes back after a while."""
DOWNLOADS_AT_ONCE: Final = 4
"""A stock client uses one; a device that lost its connection may start anew before the old one is noticed."""


@dataclass(slots=True)
class Bucket:
    """Requests that a device has left; it fills up as time passes."""

    left: float = BURST
    at: float = 0.0

    def takes(self, now: float) -> bool:
        """Take one request out; False when none is left."""
        self.left = min(BURST, self.left + (now - self.at) * REQUESTS_PER_SECOND)
        self.at = now
        if self.left < 1.0:
            return False
        self.left -= 1.0
        return True
