"""How often the bootloader still tries a slot, read from its own variables and not from who set them.

RAUC reports a slot as marked good when the programs that it called said so; only the variable itself tells that the
bootloader will go on booting the slot.

Source: https://rauc.readthedocs.io/en/v1.8/integration.html (U-Boot: BOOT_ORDER and BOOT_<bootname>_LEFT; GRUB: ORDER,
<bootname>_OK and <bootname>_TRY)
"""

from pathlib import Path
from typing import Final, Protocol

from backstay.adapters.node.programs import ended
from backstay.errors import Unavailable

_SECONDS: Final = 20.0
GRUBENV: Final = Path("/boot/grub/grubenv")


class BootCounters(Protocol):
    """What the bootloader itself says of a slot."""

    async def is_full(self, bootname: str) -> bool:
        """Tell whether the bootloader has all its tries of a slot, as after a mark that it is good.

        Raises:
            Unavailable: it cannot be read.
        """
        ...


class UBootCounters:
    """U-Boot's variables, which `fw_printenv` reads."""

    def __init__(self, attempts: int = 3) -> None:
        """Know how many `attempts` a slot gets when it is marked good: RAUC's `boot-attempts`."""
        self._attempts = attempts

    async def is_full(self, bootname: str) -> bool:
        """Tell whether the slot has all its attempts."""
        return await self._left(bootname) >= self._attempts

    async def _left(self, bootname: str) -> int:
        name = f"BOOT_{bootname}_LEFT"
        done = await ended("fw_printenv", name, seconds=_SECONDS)
        if done.status:
            raise Unavailable(f"U-Boot's variable {name} cannot be read: {done.last_complaint}")
        try:
            # RAUC writes and U-Boot's script reads them in hexadecimal.
            return int(done.said.strip().removeprefix(f"{name}="), 16)
        except ValueError as error:
            raise Unavailable(f"U-Boot's variable {name} is {done.said!r}, which is no number: mend it") from error


class GrubCounters:
    """GRUB's environment block, which `grub-editenv` reads: a slot has one try, which each boot takes."""

    def __init__(self, environment: Path = GRUBENV) -> None:
        """Read the file `environment`: RAUC's `grubenv`."""
        self._environment = environment

    async def is_full(self, bootname: str) -> bool:
        """Tell whether the slot is good and its one try is not taken."""
        done = await ended("grub-editenv", str(self._environment), "list", seconds=_SECONDS)
        if done.status:
            raise Unavailable(f"GRUB's environment {self._environment} cannot be read: {done.last_complaint}")
        variables = dict(line.split("=", 1) for line in done.said.splitlines() if "=" in line)
        found = {name: variables.get(name) for name in (f"{bootname}_OK", f"{bootname}_TRY")}
        if unknown := [name for name, value in found.items() if value not in {"0", "1"}]:
            raise Unavailable(
                f"GRUB's variable {unknown[0]} in {self._environment} is {found[unknown[0]]!r}, not 0 or 1: mend it"
            )
        return tuple(found.values()) == ("1", "0")
