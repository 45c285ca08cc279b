"""Times as objects carry them."""

from datetime import UTC, datetime


def rfc3339(at: datetime) -> str:
    """A time to the microsecond, as the API server reads and keeps it."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
