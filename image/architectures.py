"""The architectures that an image can be for, under the names that each of the tools has for them."""

import platform
from dataclasses import dataclass
from typing import Final

from backstay.errors import Refused
from backstay.sandbox.image import ARCHITECTURES as MACHINES

# Wheels for an older C library run on a newer one; Debian 12 has 2.36.
GLIBC: Final = range(36, 16, -1)


@dataclass(frozen=True, slots=True)
class Architecture:
    """One architecture."""

    name: str
    """As OCI and Debian call it."""
    machine: str
    """As the kernel and Python call it."""

    @property
    def wheel_platforms(self) -> tuple[str, ...]:
        """The platforms whose wheels run there, best first."""
        return (*(f"manylinux_2_{minor}_{self.machine}" for minor in GLIBC), f"manylinux2014_{self.machine}")


ARCHITECTURES: Final = {name: Architecture(name, machine) for machine, name in MACHINES.items()}


def architecture(name: str | None) -> Architecture:
    """The architecture of that name; without one, this machine's.

    Raises `Refused` if there is none.
    """
    wanted = name or MACHINES.get(platform.machine(), platform.machine())
    if wanted not in ARCHITECTURES:
        raise Refused(f"no image is made for {wanted!r}: there are {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[wanted]
