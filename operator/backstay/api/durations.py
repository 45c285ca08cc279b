"""Lengths of time, as Go writes them; apart from the other texts, because a node's agent has no room for the models."""

import re
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Final

_SECONDS: Final = {"h": Decimal(3600), "m": Decimal(60), "s": Decimal(1), "ms": Decimal("0.001")}


@lru_cache(maxsize=256)
def parse_duration(text: str) -> timedelta:
    """The length of time that a checked duration means, to the microsecond."""
    parts = re.findall(r"([0-9.]+)(ms|h|m|s)", text)
    seconds = sum((Decimal(number) * _SECONDS[unit] for number, unit in parts), Decimal(0))
    return timedelta(microseconds=int(seconds * 1_000_000))
