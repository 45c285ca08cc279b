"""The Debian packages that the project uses, installed by name where they are missing."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backstay.errors import Refused
from backstay.sandbox.command import run_watched
from backstay.sandbox.progress import Progress, Report

# The program that each package brings. Whoever has the program otherwise does not need the package.
PROGRAMS = {
    "etcd-server": "etcd",
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "docker-registry": "docker-registry",
    "gcc-riscv64-unknown-elf": "riscv64-unknown-elf-gcc",
    "swupdate": "swupdate",
    "faketime": "faketime",
    "strace": "strace",
    "rauc": "rauc",
    "libubootenv-tool": "fw_setenv",
    "grub-common": "grub-editenv",
    "squashfs-tools": "mksquashfs",
    "dbus-daemon": "dbus-daemon",
    "containerd": "containerd",
    "runc": "runc",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "busybox-static": "busybox",
    "iproute2": "ip",
}
# What only the demo and tests use: the browser that opens the page, and where plans come from.
SHOWN = {"chromium": "chromium", "git": "git"}
# What only tests use: what a guide calls, and the shells that complete.
TESTED = {"curl": "curl", "zsh": "zsh", "fish": "fish"}
# What only the booted tests use.
MACHINE = {
    "qemu-system-x86": "qemu-system-x86_64",
    "qemu-utils": "qemu-img",
    "mmdebstrap": "mmdebstrap",
    "kmod": "modprobe",
    "grub-pc-bin": "/usr/lib/grub/i386-pc/boot.img",
}
# What only the tests of Argo CD itself use: its cache.
ARGO_CD = {"redis-server": "redis-server"}
# What only benchmarks are compared with.
COMPARED = {"nginx": "nginx"}
# Debian starts these by itself at the next boot, and most of them listen on every interface.
SERVICES = {
    "etcd-server": "etcd",
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "docker-registry": "docker-registry",
    "swupdate": "swupdate",
    "nginx": "nginx",
    "containerd": "containerd",
    "redis-server": "redis-server",
}

POLICY = Path("/usr/sbin/policy-rc.d")
OUR_POLICY = (
    "#!/bin/sh\n# Set for a moment by the set-up of Backstay: the services of new packages must not start.\nexit 101\n"
)
APT = ("apt-get", "--quiet", "--assume-yes", "--no-install-recommends")


def missing(programs: dict[str, str] = PROGRAMS) -> tuple[str, ...]:
    """The packages whose program is not there."""
    return tuple(package for package, program in programs.items() if shutil.which(program) is None)


def install(packages: tuple[str, ...], log: Path, report: Report) -> None:
    """Install packages without starting their services, now or at the next boot.

    Raises `Refused` with the command to run if this user may not, `CommandFailed` if apt-get fails.
    """
    if not packages:
        return
    by_hand = f"apt-get install --no-install-recommends {' '.join(packages)}"
    services = [SERVICES[package] for package in packages if package in SERVICES]
    if shutil.which("apt-get") is None:
        programs = ", ".join((PROGRAMS | TESTED | MACHINE | COMPARED).get(package, package) for package in packages)
        raise Refused(f"this machine lacks {programs}; on Debian 12 they come with: {by_hand}")
    if os.geteuid() != 0:
        raise Refused(_commands_for_a_person(by_hand, services))
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run_watched((*APT, "update"), log, Progress(report, "reading Debian's package lists"), environment=quiet)
    progress = Progress(report, f"installing Debian packages ({' '.join(packages)})")
    with _services_held_back():
        run_watched((*APT, "install", *packages), log, progress, environment=quiet)
    _disable(services)


def _commands_for_a_person(install: str, services: list[str]) -> str:
    # Debian starts what it installs, most of it on every interface; nothing of that is needed here.
    stop = f"\n    sudo systemctl disable --now {' '.join(services)}" if services else ""
    commands = f"    sudo apt-get update\n    sudo {install}{stop}"
    return f"these Debian packages are missing; install them, then run this again:\n\n{commands}\n"


@contextmanager
def _services_held_back() -> Iterator[None]:
    """Keep Debian from starting services while packages are installed; the machine's own policy comes back after."""
    earlier = POLICY.read_bytes() if POLICY.exists() else None
    mode = POLICY.stat().st_mode if earlier is not None else 0o755
    if earlier == OUR_POLICY.encode():
        # A set-up that was killed left it behind.
        earlier = None
    POLICY.unlink(missing_ok=True)
    POLICY.write_text(OUR_POLICY, encoding="utf-8")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()
        if earlier is not None:
            POLICY.write_bytes(earlier)
            POLICY.chmod(mode)


def _disable(services: list[str]) -> None:
    if services and Path("/run/systemd/system").is_dir():
        subprocess.run(("systemctl", "--quiet", "disable", *services), check=False, stdin=subprocess.DEVNULL)
