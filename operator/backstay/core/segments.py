"""On which label failing devices concentrate, if they concentrate on any."""

from collections.abc import Iterable
from fractions import Fraction
from math import comb
from typing import Final

from backstay.core.devices import Device
from backstay.core.revision import Segment

CHANCE: Final = Fraction(1, 20)
"""A label counts only if chance alone would put the failing devices under it less often than this."""


def concentration(failing: Iterable[Device], changed: Iterable[Device]) -> Segment | None:
    """The label that all failing devices share and the fewest changed ones do; None where none tells them apart.

    How likely chance is follows from drawing the failing devices out of the changed ones at random.
    """
    bad, everyone = list(failing), list(changed)
    if len(bad) < 2:  # noqa: PLR2004 - one device shares every label with itself
        return None
    shared = {
        (key, value) for key, value in bad[0].labels.items() if all(device.labels.get(key) == value for device in bad)
    }
    sizes = {label: sum(device.labels.get(label[0]) == label[1] for device in everyone) for label in shared}
    drawn = comb(len(everyone), len(bad))
    telling = [label for label, size in sizes.items() if Fraction(comb(size, len(bad)), max(1, drawn)) < CHANCE]
    if not telling:
        return None
    return Segment(*min(telling, key=lambda label: (sizes[label], label)))
