"""Installs process releases where there is no systemd: a program kept by its digest, and a link to the one that runs.

Source: https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html (e_machine) and execve(2) (`#!`)
"""

import struct
from pathlib import Path
from typing import Final

from backstay.adapters.node.durable import replace_link
from backstay.adapters.node.placed import PlacedInstaller, StoppableName
from backstay.core.device import Cause, Reason
from backstay.core.planes import Plane

HEADER_BYTES: Final = 20
_MACHINE_AT: Final = 18
_THIS_PROGRAM: Final = Path("/proc/self/exe")


class ProgramPlace:
    """The link `current` to the program that is to run."""

    def __init__(self, link: Path) -> None:
        """Use `link`, which whoever runs the program follows."""
        self._name = StoppableName(link)

    def current(self) -> Path | None:
        """The program that the link leads to, or would if it were not stopped."""
        return self._name.now.resolve() if self._name.now.is_file() else None

    def put(self, payload: Path) -> None:
        """Let the link lead to this program."""
        replace_link(self._name.now, payload.absolute())

    def stop(self) -> None:
        """Take the link away, and whoever runs the program ends it."""
        self._name.stop()

    def go_on(self) -> None:
        """Give the link back."""
        self._name.go_on()

    def objection(self, payload: Path) -> Cause | None:
        """Refuse what the kernel of this machine would not start."""
        with payload.open("rb") as file:
            return not_startable(file.read(HEADER_BYTES), "the payload")


class ProcessInstaller(PlacedInstaller):
    """Installs releases of one program; `adapters.node.supervision` runs what its link leads to."""

    def __init__(self, directory: Path, plane: Plane) -> None:
        """Keep programs and the link `current` in `directory`."""
        self.link: Final = directory / "current"
        super().__init__(directory, plane, ProgramPlace(self.link), mode=0o755)


def not_startable(header: bytes, what: str) -> Cause | None:
    """Why the kernel of this machine would not start what begins with these `HEADER_BYTES`; None if it would."""
    if header.startswith(b"#!/"):
        return None
    if not header.startswith(b"\x7fELF") or len(header) < HEADER_BYTES:
        return Cause(Reason.REJECTED, f"{what} is no program: it begins neither with \\x7fELF nor with #!/")
    if (machine := _machine(header)) != (ours := _machine(_own_header())):
        return Cause(Reason.REJECTED, f"{what} is a program for ELF machine {machine}, and this node is {ours}")
    return None


def _own_header() -> bytes:
    with _THIS_PROGRAM.open("rb") as file:
        return file.read(HEADER_BYTES)


def _machine(header: bytes) -> tuple[int, int, int]:
    """Whether it is of 32 or 64 bits, its byte order, and its processor's number."""
    order = ">" if header[5] == 2 else "<"  # noqa: PLR2004 - ELFDATA2MSB
    (machine,) = struct.unpack_from(f"{order}H", header, _MACHINE_AT)
    return header[4], header[5], machine
