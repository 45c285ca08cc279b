"""Builds the disks of the machine that tests boot, without mounting anything: Debian's packages, GRUB, and the agent.

    Debian's packages → system.squashfs, what a slot holds → machine.img, the disk as the factory delivers it
    the agent of this checkout and what it imports → agent.squashfs, a disk of its own

Each is kept in the cache under the digest of what it is made from, so that a change of the agent makes only the agent's
disk anew.
"""

import fcntl
import hashlib
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backstay.sandbox.progress import Progress, report_to_terminal

HERE = Path(__file__).parent / "image"
EDITENV = Path(__file__).parents[2] / "manifests" / "node" / "grub-editenv"
OPERATOR = Path(__file__).parents[2] / "operator"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "backstay" / "machine"
PACKAGES = (
    "systemd-sysv",
    "dbus",
    "udev",
    "rauc",
    "rauc-service",
    "grub-common",
    "python3",
    "iproute2",
    "kmod",
    "busybox-static",
    "linux-image-cloud-amd64",
)
LEFT_OUT = ("doc", "man", "locale", "info", "lintian", "bash-completion", "fonts", "zoneinfo")
EARLY_MODULES = ("virtio_pci", "virtio_blk", "squashfs", "virtio_net", "softdog")
LATER_MODULES = ("loop", "dm-verity", "dm-mod")
IMPORTED = (
    *("aiohappyeyeballs", "aiohttp", "aiosignal", "annotated_doc", "annotated_types", "attr", "cryptography"),
    *("_cffi_backend*", "dbus_fast", "frozenlist", "idna", "multidict", "orjson", "propcache", "pydantic"),
    *("pydantic_core", "pydantic-*", "semver", "shellingham", "typer", "click", "rich", "typing_extensions.py"),
    *("typing_inspection", "yaml", "_yaml", "yarl", "pygments"),
)
"""What the agent imports, of what this environment has."""
NOT_ON_NODES = {"sandbox", "simulate", "bridge", "web", "controllers", "__pycache__"}
UNREAD = (
    *("boot/*", "var/cache/*", "var/lib/*", "usr/lib/locale", "usr/lib/apt", "usr/lib/udev", "usr/bin/udevadm"),
    *("usr/share/perl*", "usr/bin/perl*", "usr/lib/x86_64-linux-gnu/perl*", "usr/lib/x86_64-linux-gnu/libperl*"),
    *("usr/lib/x86_64-linux-gnu/gconv", "usr/lib/x86_64-linux-gnu/libapt*", "usr/lib/x86_64-linux-gnu/libicu*"),
    *(
        "usr/lib/x86_64-linux-gnu/libdb-5*",
        "usr/lib/x86_64-linux-gnu/libfreetype*",
        "usr/lib/x86_64-linux-gnu/libmvec*",
    ),
    *("usr/lib/python3/dist-packages", "usr/lib/python3.11/lib2to3", "usr/lib/python3.11/distutils"),
    *("usr/lib/python3.11/test", "usr/lib/python3.11/pydoc_data", "usr/lib/python3.11/ensurepip"),
    *("usr/lib/python3.11/idlelib", "usr/lib/python3.11/tkinter", "usr/lib/python3.11/unittest"),
    *("usr/share/grub", "usr/bin/grub-[fgkmrs]*", "usr/sbin/grub-*", "usr/sbin/tc", "usr/sbin/ldconfig"),
    *("usr/lib/systemd/catalog", "usr/lib/systemd/systemd-networkd", "usr/lib/systemd/systemd-logind"),
    *("usr/share/dbus-1/system-services/org.freedesktop.*", "usr/lib/systemd/system/dbus-org.*"),
    *("usr/lib/systemd/systemd-udevd", "usr/lib/systemd/boot", "usr/lib/systemd/system-generators/*"),
)
"""What no boot and no agent reads."""
STARTED = {
    "sysinit.target.wants": {"systemd-journald.service"},
    "multi-user.target.wants": {"dbus.service"},
    "sockets.target.wants": {"dbus.socket", "systemd-journald.socket", "systemd-journald-dev-log.socket"},
    "timers.target.wants": set[str](),
    "local-fs.target.wants": set[str](),
}
"""What is left of the units that Debian starts by itself: an emulated processor takes a second for each other one."""
UNITS = ("guest-shell", "network-of-test", "backstay-agent")
KEPT = 2
"""Other checkouts have theirs."""
MIB = 1024 * 1024
PARTITIONS = {"boot": (1, 15), "A": (16, 112), "B": (128, 112), "data": (240, 1536)}
"""Where each begins on the disk, and how long it is, in MiB."""
DISK_MIB = 1776
AGENT_MIB = 48
GRUB = Path("/usr/lib/grub/i386-pc")
GRUB_MODULES = ("biosdisk", "part_msdos", "ext2", "squash4", "linux", "normal", "loadenv", "test", "serial", "echo")


@dataclass(frozen=True)
class Image:
    """The files that a machine begins from; nobody writes them."""

    system: Path
    """What a slot holds: a squashfs to which a test may append."""
    disk: Path
    """Slot A holds `system`, slot B nothing, and the partition of data is empty."""
    agent: Path


def build() -> Image:
    """The image for this checkout, made now where the cache has it not."""
    with alone():
        files = [EDITENV, *sorted(path for path in HERE.rglob("*") if path.is_file())]
        debian = made("debian.tar", digest(*PACKAGES, *LEFT_OUT), "a root file system of Debian's packages", _debian)
        ours = digest(debian.name, Path(__file__).read_bytes(), *(path.read_bytes() for path in files))
        system = made("system.squashfs", ours, "the system image", lambda to: _system(debian, to))
        disk = made("machine.img", ours, "the disk of the machine", lambda to: _disk(system, to))
        sources = sorted(path for path in (OPERATOR / "backstay").rglob("*.py") if not NOT_ON_NODES & set(path.parts))
        lock_file = (OPERATOR.parent / "requirements.lock").read_bytes()
        agents = digest(
            *IMPORTED, str(AGENT_MIB), lock_file, *(f"{path}".encode() + path.read_bytes() for path in sources)
        )
        agent = made("agent.squashfs", agents, "the disk with the agent", _agent)
    return Image(system, disk, agent)


def with_files(system: Path, to: Path, files: dict[str, str]) -> None:
    """A system image that also has these programs in its root."""
    shutil.copyfile(system, to)
    with tempfile.TemporaryDirectory() as directory:
        for name, text in files.items():
            path = Path(directory) / name
            path.write_text(text, encoding="utf-8")
            path.chmod(0o755)
            _run("mksquashfs", str(path), str(to), "-all-root", "-no-progress", "-quiet", "-no-recovery")


def made(name: str, key: str, what: str, make: Callable[[Path], None]) -> Path:
    """What the cache holds under a key, made now where it is not; a directory where `name` has no ending."""
    stem, dot, ending = name.partition(".")
    path = CACHE / f"{stem}-{key}{dot}{ending}"
    if path.exists():
        path.touch()
    else:
        for old in sorted(CACHE.glob(f"{stem}-*"), key=lambda one: one.stat().st_mtime)[:-KEPT]:
            _forget(old)
        making, half = Progress(report_to_terminal, f"making {what}"), CACHE / f"half-{name}"
        _forget(half)
        make(half)
        half.rename(path)
        making.done()
    return path


def _forget(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _debian(to: Path) -> None:
    unwanted = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in LEFT_OUT]
    sources = subprocess.run(
        ("apt-get", "indextargets", "--format", "deb $(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"),
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    lines = sorted({line for line in sources.splitlines() if "debian" in line.lower()})
    _run(
        "mmdebstrap", "--mode=root", "--variant=essential", "--format=tar", "--quiet", *unwanted,
        "--aptopt=APT::Install-Recommends false", f"--include={','.join(PACKAGES)}", "bookworm", str(to), "-",
        given="\n".join(lines),
    )  # fmt: skip


def _system(debian: Path, to: Path) -> None:
    with _directory() as work:
        root = work / "root"
        root.mkdir()
        _run("tar", "-C", str(root), "-xf", str(debian), "--exclude=./dev/*")
        (version,) = (path.name for path in (root / "lib/modules").iterdir())
        (root / "vmlinuz").unlink(missing_ok=True)
        (root / f"boot/vmlinuz-{version}").rename(root / "vmlinuz")
        _initrd(root, version, work / "initrd")
        _trim(root, version)
        shutil.copytree(HERE / "files", root, dirs_exist_ok=True)
        for program in (HERE / "guest_shell.py", EDITENV):
            shutil.copy(program, root / "usr/local/bin")
        shutil.copy(work / "initrd", root / "initrd")
        (root / "data").mkdir()
        (root / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n", encoding="ascii")
        (root / "etc/hostname").write_text("machine\n", encoding="ascii")
        (root / "etc/fstab").write_text("", encoding="ascii")
        _start_little(root)
        _run("mksquashfs", str(root), str(to), "-comp", "gzip", "-no-progress", "-quiet", "-noappend")


def _start_little(root: Path) -> None:
    """Let a boot start our units, and of Debian's only what these need."""
    units, ours = root / "usr/lib/systemd/system", root / "etc/systemd/system"
    for target, kept in STARTED.items():
        for unit in (*(units / target).glob("*"), *(ours / target).glob("*")):
            if unit.name not in kept:
                unit.unlink()
    wants = ours / "multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    for unit in UNITS:
        (wants / f"{unit}.service").symlink_to(f"../{unit}.service")
    (units / "default.target").unlink()
    (units / "default.target").symlink_to("multi-user.target")


def _trim(root: Path, version: str) -> None:
    """Leave out what no boot reads."""
    modules = root / "lib/modules" / version
    kept = {root.resolve() / path for path in _with_dependencies(root, version, EARLY_MODULES + LATER_MODULES)}
    for path in modules.rglob("*.ko"):
        # /lib is a link.
        if path.resolve() not in kept:
            path.unlink()
    _run("depmod", "-b", str(root), version)
    for path in (path for pattern in UNREAD for path in root.glob(pattern)):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _with_dependencies(root: Path, version: str, modules: tuple[str, ...]) -> list[str]:
    found: list[str] = []
    for module in modules:
        shown = subprocess.run(
            ("modprobe", "-d", root, "-S", version, "--show-depends", module),
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        paths = (line.split()[1] for line in shown.splitlines() if line.startswith("insmod "))
        found += [str(Path(path).resolve().relative_to(root.resolve())) for path in paths]
    return found


def _initrd(root: Path, version: str, to: Path) -> None:
    tree = to.with_suffix(".tree")
    for name in ("bin", "proc", "sys", "dev", "root"):
        (tree / name).mkdir(parents=True)
    shutil.copy(root / "bin/busybox", tree / "bin/busybox")
    shutil.copy(HERE / "init", tree / "init")
    (tree / "init").chmod(0o755)
    for path in _with_dependencies(root, version, EARLY_MODULES):
        target = tree / "lib/modules" / version / Path(path).name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / path, target)
    _run("depmod", "-b", str(tree), version)
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    with to.open("wb") as archive:
        subprocess.run(
            (root / "bin/busybox", "cpio", "-o", "-H", "newc"), cwd=tree, input=names.encode(), stdout=archive,
            check=True, stderr=subprocess.DEVNULL,
        )  # fmt: skip


def _disk(system: Path, to: Path) -> None:
    with _directory() as work, to.open("w+b") as disk:
        disk.truncate(DISK_MIB * MIB)
        core = work / "core.img"
        _run(
            "grub-mkimage", "-O", "i386-pc", "-d", str(GRUB), "-o", str(core), "-p", "(hd0,msdos1)/grub", *GRUB_MODULES
        )
        _write(disk, 0, (GRUB / "boot.img").read_bytes()[:440])
        _write(disk, 446, b"".join(_partition(*place) for place in PARTITIONS.values()) + b"\x55\xaa")
        _write(disk, 512, core.read_bytes())
        grub = work / "boot" / "grub"
        grub.mkdir(parents=True)
        shutil.copy(HERE / "grub.cfg", grub)
        _run("grub-editenv", str(grub / "grubenv"), "create")
        _run("grub-editenv", str(grub / "grubenv"), "set", "ORDER=A B", "A_OK=1", "A_TRY=0", "B_OK=0", "B_TRY=0")
        (work / "data").mkdir()
        for name, features in (("boot", "^has_journal"), ("data", "has_journal")):
            first, length = PARTITIONS[name]
            _run(
                "mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-O", f"{features},^metadata_csum,^64bit", "-d",
                str(work / name), "-E", f"offset={first * MIB},nodiscard", str(to), f"{length}M",
            )  # fmt: skip
        _write(disk, PARTITIONS["A"][0] * MIB, system.read_bytes())
    _check_room("the system", system, PARTITIONS["A"][1])


def _partition(first: int, length: int) -> bytes:
    """An entry of the table in the first sector."""
    return struct.pack("<B3sB3sII", 0, b"\xff\xff\xff", 0x83, b"\xff\xff\xff", first * MIB // 512, length * MIB // 512)


def _check_room(what: str, image: Path, mib: int) -> None:
    if image.stat().st_size > mib * MIB:
        raise RuntimeError(f"{what} takes {image.stat().st_size // MIB} MiB, and there is room for {mib}")


def _agent(to: Path) -> None:
    packages = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    with _directory() as work:
        lib = work / "lib"
        lib.mkdir()
        for pattern in IMPORTED:
            for path in packages.glob(pattern):
                if path.is_dir():
                    shutil.copytree(path, lib / path.name)
                else:
                    shutil.copy2(path, lib)
        ignored = shutil.ignore_patterns(*NOT_ON_NODES)
        shutil.copytree(OPERATOR / "backstay", lib / "backstay", ignore=ignored)
        _run(sys.executable, "-m", "compileall", "-q", "-j", "2", "--invalidation-mode", "unchecked-hash", str(lib))
        _run("mksquashfs", str(work), str(to), "-comp", "gzip", "-all-root", "-no-progress", "-quiet", "-noappend")
        # A machine that has booted once knows how long its disks are, whichever agent it is given.
        _check_room("the agent", to, AGENT_MIB)
        os.truncate(to, AGENT_MIB * MIB)


def _write(disk, where: int, data: bytes) -> None:
    disk.seek(where)
    disk.write(data)


@contextmanager
def alone() -> Iterator[None]:
    """Let nobody else on this computer make anything meanwhile."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        yield Path(directory)


def digest(*parts: str | bytes) -> str:
    return hashlib.sha256(b"\0".join(part.encode() if isinstance(part, str) else part for part in parts)).hexdigest()[
        :16
    ]


def _run(*command: str, given: str | None = None) -> None:
    done = subprocess.run(command, input=given, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr[-2000:]}{done.stdout[-500:]}")
