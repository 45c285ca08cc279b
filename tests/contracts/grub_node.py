"""A node with RAUC and GRUB: the real `grub-editenv` on a real environment block.

What is not real is GRUB's script, which the booted tests (tests/vm) run: it takes the first slot in ORDER that is good
and whose try is not taken, and takes it.

Source: https://rauc.readthedocs.io/en/v1.8/integration.html (GRUB) and rauc's contrib/grub.conf
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.contracts.rauc_node import RaucNode


@dataclass
class GrubNode(RaucNode):
    """A bench as `RaucNode`, whose bootloader gives a slot one try."""

    tries_once: bool = True

    async def begin(self) -> None:
        await super().begin()
        self.settings["grubenv"] = str(self.grubenv)

    @property
    def grubenv(self) -> Path:
        return self.disk / "grubenv"

    def boots(self) -> str:
        for slot in self.variable("ORDER").split():
            if self.variable(f"{slot}_OK") == "1" and self.variable(f"{slot}_TRY") == "0":
                self.set_variable(f"{slot}_TRY", "1")
                return slot
        raise AssertionError("the node has nothing to boot")

    def variable(self, name: str) -> str:
        listed = subprocess.run(("grub-editenv", self.grubenv, "list"), check=True, capture_output=True, text=True)
        return dict(line.split("=", 1) for line in listed.stdout.splitlines())[name]

    def set_variable(self, name: str, value: str) -> None:
        subprocess.run(("grub-editenv", self.grubenv, "set", f"{name}={value}"), check=True)

    def _bootloader(self) -> str:
        return f"bootloader=grub\ngrubenv={self.grubenv}"

    def _deliver_variables(self) -> None:
        subprocess.run(("grub-editenv", self.grubenv, "create"), check=True)
        for name, value in {"ORDER": "A B", "A_OK": "1", "A_TRY": "0", "B_OK": "0", "B_TRY": "0"}.items():
            self.set_variable(name, value)
