"""A node with RAUC: the real service and the real tools for U-Boot's variables; its slots and its flash are files.

What is not real is the bootloader. It is constructed from the U-Boot script in RAUC's documentation: it takes the first
slot in BOOT_ORDER that has tries left, and takes one of them.

Source: https://rauc.readthedocs.io/en/v1.8/integration.html (U-Boot) and rauc's contrib/uboot.sh
"""

import asyncio
import hashlib
import os
import shutil
import signal
import subprocess
from asyncio.subprocess import DEVNULL
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from backstay.core.planes import Plane, Release
from backstay.errors import Unavailable
from backstay.ports.installer import Effect, Installer
from tests.contracts.installers import NEEDS, Delivery, delivery, digest_of, installer_of

COMPATIBLE = "backstay-test-node"
ATTEMPTS = 3
SLOTS = {"A": "slot-a.img", "B": "slot-b.img", "R": "rescue.img"}
RESCUE = "R"
SLOT_BYTES = 512 * 1024


def image_of(version: str) -> bytes:
    """A system image: its first line is its version, and the rest is not compressible."""
    noise = b"".join(hashlib.sha256(f"{version} {number}".encode()).digest() for number in range(4096))
    return f"system {version}\n".encode() + noise


@dataclass(frozen=True)
class Signer:
    """A key that signs bundles, and its certificate, which a node may have in its keyring."""

    key: Path
    certificate: Path

    @classmethod
    def make(cls, directory: Path, name: str) -> "Signer":
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        made = cls(directory / f"{name}.key", directory / f"{name}.pem")
        made.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        made.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return made


def make_bundle(
    path: Path, version: str, signer: Signer, *, compatible: str = COMPATIBLE, slot_class: str = "rootfs"
) -> None:
    content = path.with_suffix(".content")
    content.mkdir()
    (content / "rootfs.img").write_bytes(image_of(version))
    (content / "manifest.raucm").write_text(
        f"[update]\ncompatible={compatible}\nversion={version}\n"
        f"[bundle]\nformat=plain\n[image.{slot_class}]\nfilename=rootfs.img\n",
        encoding="utf-8",
    )
    command = ("rauc", "bundle", f"--cert={signer.certificate}", f"--key={signer.key}", content, path)
    subprocess.run(command, check=True, capture_output=True)


def loops_of(directory: Path) -> list[str]:
    """The loop devices of files in a directory, as a RAUC leaves them that is killed before it mounts a bundle."""
    backing = {path: path.read_text(encoding="utf-8") for path in Path("/sys/block").glob("loop*/loop/backing_file")}
    return [f"/dev/{path.parts[3]}" for path, file in backing.items() if file.startswith(f"{directory}/")]


@dataclass
class RaucNode:
    """A bench whose plane is the system image; it runs 1.0.0 from the factory, and its slot B is empty."""

    root: Path
    slots: tuple[str, ...] = ("A", "B")
    """With R, there is a recovery system too."""
    booted: str = "A"
    first: Release = field(init=False)
    signer: Signer = field(init=False)
    settings: dict[str, Any] = field(init=False)
    tries_once: bool = False
    _saved: str = "A"
    _bus: asyncio.subprocess.Process | None = None
    service: asyncio.subprocess.Process | None = None

    async def begin(self) -> None:
        for directory in (self.disk, self.root / "etc", self.root / "bin", self.mounts):
            directory.mkdir(parents=True)
        self.signer = Signer.make(self.root / "etc", "builder")
        self.first = Release(Plane.FIRMWARE, "1.0.0", digest_of(b"factory"), NEEDS)
        self.settings = {
            "kind": "rauc",
            "directory": str(self.disk),
            "configuration": str(self.configuration),
            "address": f"unix:path={self.root / 'bus'}",
            "factory": self.first.content,
        }
        self._configure()
        self._fill()
        self._bus = await asyncio.create_subprocess_exec(
            "dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address={self.settings['address']}"
        )
        while not (self.root / "bus").exists():
            await asyncio.sleep(0.02)
        await self.start_service()

    async def end(self) -> None:
        await self.kill_service()
        if self._bus is not None:
            self._bus.kill()
            await self._bus.wait()

    @property
    def disk(self) -> Path:
        return self.root / "disk"

    @property
    def mounts(self) -> Path:
        return self.root / "mnt"

    @property
    def configuration(self) -> Path:
        return self.root / "etc" / "system.conf"

    @property
    def installer(self) -> Installer:
        return installer_of(self.settings)

    def deliver(self, version: str, number: int) -> Delivery:
        path = self.root / f"{version}.raucb"
        if not path.exists():
            make_bundle(path, version, self.signer)
        return delivery(path, version, number)

    def nonsense(self) -> Path:
        (self.root / "nonsense").write_bytes(b"nonsense")
        return self.root / "nonsense"

    async def take_effect(self, effect: Effect) -> None:
        if effect is Effect.AFTER_REBOOT:
            await self.reboot()

    async def reboot(self) -> None:
        await self.kill_service()
        self.booted = self.boots()
        await self.start_service()
        await self.installer.renew()  # type: ignore[attr-defined] # as the agent does after each boot

    async def power_cut(self) -> None:
        await self.reboot()

    def truth(self) -> str:
        return self.holds(self.booted)

    def holds(self, slot: str) -> str:
        data = (self.disk / SLOTS[slot]).read_bytes()
        return next((one for one in ("1.0.0", "2.0.0", "3.0.0") if data.startswith(image_of(one))), "neither")

    async def save(self) -> None:
        await self.kill_service()
        shutil.copytree(self.disk, self.root / "saved")
        self._saved = self.booted
        await self.start_service()

    async def restore(self) -> None:
        await self.kill_service()
        shutil.rmtree(self.disk)
        shutil.copytree(self.root / "saved", self.disk)
        self.booted = self._saved
        await self.start_service()

    def boots(self) -> str:
        """What U-Boot does with its variables, and the slot that it boots."""
        for slot in self.variable("BOOT_ORDER").split():
            if left := int(self.variable(f"BOOT_{slot}_LEFT"), 16):
                self.set_variable(f"BOOT_{slot}_LEFT", f"{left - 1:x}")
                return slot
        raise AssertionError("the node has nothing to boot")

    def variable(self, name: str) -> str:
        done = subprocess.run(
            (self.root / "bin" / "fw_printenv", "-n", name), check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def set_variable(self, name: str, value: str) -> None:
        subprocess.run((self.root / "bin" / "fw_setenv", name, value), check=True, capture_output=True)

    async def start_service(self) -> None:
        environment = {
            **os.environ,
            "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}",
            "DBUS_SESSION_BUS_ADDRESS": self.settings["address"],
            "DBUS_STARTER_BUS_TYPE": "session",
        }
        with (self.root / "service.log").open("ab") as log:
            self.service = await asyncio.create_subprocess_exec(
                "rauc", "--conf", self.configuration, "service", f"--override-boot-slot={self.booted}",
                env=environment, stdout=log, stderr=log,
            )  # fmt: skip
        async with asyncio.timeout(20):
            while not await self._answers():
                await asyncio.sleep(0.02)

    async def kill_service(self) -> None:
        """End RAUC as a power cut does, with what it had mounted."""
        if self.service is not None and self.service.returncode is None:
            self.service.send_signal(signal.SIGKILL)
            await self.service.wait()
        for mounted in self.mounts.iterdir():
            unmount = await asyncio.create_subprocess_exec("umount", "--quiet", "--lazy", mounted, stderr=DEVNULL)
            await unmount.wait()
        for device in loops_of(self.disk):
            detach = await asyncio.create_subprocess_exec("losetup", "--detach", device, stderr=DEVNULL)
            await detach.wait()

    async def _answers(self) -> bool:
        try:
            await self.installer.look()
        except Unavailable:
            return False
        return True

    def _configure(self) -> None:
        groups = "".join(
            f"[slot.{'rescue' if slot == RESCUE else 'rootfs'}.{number}]\n"
            f"device={self.disk / SLOTS[slot]}\ntype=raw\nbootname={slot}\n"
            for number, slot in enumerate(self.slots)
        )
        self.configuration.write_text(
            f"[system]\ncompatible={COMPATIBLE}\n{self._bootloader()}\nmountprefix={self.mounts}\n"
            f"statusfile={self.disk / 'status.raucs'}\nbundle-formats=plain\n"
            f"[keyring]\npath={self.signer.certificate}\n{groups}",
            encoding="utf-8",
        )

    def _bootloader(self) -> str:
        """Set the bootloader's programs up, and say what RAUC has to know of it."""
        flash = self.disk / "env.bin"
        environment = self.root / "etc" / "fw_env.config"
        environment.write_text(f"{flash} 0x0 0x4000\n{flash} 0x4000 0x4000\n", encoding="utf-8")
        for program in ("fw_printenv", "fw_setenv"):
            real, ours = shutil.which(program), self.root / "bin" / program
            ours.write_text(f'#!/bin/sh\nexec {real} -c {environment} "$@"\n', encoding="utf-8")
            ours.chmod(0o755)
        return "bootloader=uboot"

    def _fill(self) -> None:
        """Bring the node to what the factory delivers."""
        for slot in self.slots:
            data = image_of("1.0.0") if slot == self.booted else b""
            (self.disk / SLOTS[slot]).write_bytes(data.ljust(SLOT_BYTES, b"\0"))
        self._deliver_variables()

    def _deliver_variables(self) -> None:
        (self.disk / "env.bin").write_bytes(b"\0" * 0x8000)
        defaults, more = self.root / "etc" / "defaults", f" {RESCUE}" if RESCUE in self.slots else ""
        defaults.write_text(
            f"BOOT_ORDER=A{more}\nBOOT_A_LEFT={ATTEMPTS}\nBOOT_B_LEFT=0\nBOOT_R_LEFT={ATTEMPTS}\n", encoding="utf-8"
        )
        subprocess.run(
            (self.root / "bin" / "fw_setenv", "-f", defaults, "-s", defaults), check=True, capture_output=True
        )
