"""The layer of Debian packages: unpacked, never installed, so that neither root nor the architecture is needed."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from email import message_from_string
from pathlib import Path
from typing import Final

from backstay.errors import Refused
from image.architectures import Architecture
from image.bytecode import compile_tree
from image.layers import Component

PACKAGES: Final = tuple((Path(__file__).parent / "debian-packages.txt").read_text(encoding="ascii").split())
USER_ID: Final = 65532
UNREAD: Final = (
    *("usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian", "usr/share/bug"),
    *(
        "usr/share/doc-base",
        "usr/share/applications",
        "usr/share/pixmaps",
        "usr/share/binfmts",
        "usr/share/apps",
        "usr/share/gcc",
    ),
    *("usr/share/zoneinfo/right", "usr/share/zoneinfo/posix", "usr/lib/*/gconv", "usr/lib/python3.11/ensurepip"),
    *("usr/lib/python3.11/idlelib", "usr/lib/python3.11/lib2to3", "usr/lib/python3.11/pydoc_data"),
    *("usr/lib/python3.11/turtledemo", "usr/lib/python3.11/tkinter", "usr/lib/python3.11/distutils"),
    *("usr/bin/pygettext3*", "usr/bin/pydoc3*", "usr/sbin", "sbin"),
)
ACCOUNTS: Final = {
    "etc/passwd": f"root:x:0:0:root:/root:/sbin/nologin\nbackstay:x:{USER_ID}:{USER_ID}:backstay:/tmp:/sbin/nologin\n",
    "etc/group": f"root:x:0:\nbackstay:x:{USER_ID}:\n",
}


def base(architecture: Architecture) -> Callable[[Path], tuple[Component, ...]]:
    """What fills the layer.

    The result raises `Refused` if apt-get cannot fetch the packages.
    """

    def fill(root: Path) -> tuple[Component, ...]:
        with tempfile.TemporaryDirectory() as directory:
            fetched = _fetch(Path(directory), architecture)
            components = tuple(_unpack(package, root) for package in sorted(fetched))
        _leave_out(root)
        _certificates(root)
        for name, text in ACCOUNTS.items():
            (root / name).write_text(text, encoding="ascii")
        compile_tree(root / "usr" / "lib" / "python3.11", "/usr/lib/python3.11")
        return components

    return fill


def _fetch(home: Path, architecture: Architecture) -> list[Path]:
    """The newest packages of the sources that this machine has; its own lists and packages are left alone."""
    if shutil.which("apt-get") is None:
        raise Refused("the image is made of Debian packages, and this machine has no apt-get; take image/Dockerfile")
    for name in ("state/lists/partial", "cache/archives/partial", "packages"):
        (home / name).mkdir(parents=True)
    (home / "status").touch()
    options = {
        "Dir::State": f"{home}/state",
        "Dir::State::status": f"{home}/status",
        "Dir::Cache": f"{home}/cache",
        "APT::Architecture": architecture.name,
        "APT::Architectures": architecture.name,
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
    }
    apt = ("apt-get", "--quiet=2", *(f"--option={name}={value}" for name, value in options.items()))
    _run((*apt, "update"), home)
    _run((*apt, "download", *PACKAGES), home / "packages")
    return list((home / "packages").glob("*.deb"))


def _unpack(package: Path, root: Path) -> Component:
    _run(("dpkg-deb", "--extract", str(package), str(root)), root)
    control = _run(("dpkg-deb", "--field", str(package)), root)
    told = message_from_string(control)
    name, version = told["Package"], told["Version"]
    # Where scanners look for the packages of images that have no package manager.
    status = root / "var" / "lib" / "dpkg" / "status.d"
    status.mkdir(parents=True, exist_ok=True)
    (status / name).write_text(control, encoding="utf-8")
    return Component("deb", name, version)


def _leave_out(root: Path) -> None:
    for path in (path for pattern in UNREAD for path in root.glob(pattern)):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    # Licences stay, the rest of the documents goes.
    for path in (root / "usr" / "share" / "doc").rglob("*"):
        if path.is_file() and path.name != "copyright":
            path.unlink()


def _certificates(root: Path) -> None:
    """One file of all authorities, as the package's script would make it."""
    found = sorted((root / "usr" / "share" / "ca-certificates").rglob("*.crt"))
    bundle = root / "etc" / "ssl" / "certs" / "ca-certificates.crt"
    bundle.parent.mkdir(parents=True, exist_ok=True)
    bundle.write_bytes(b"".join(path.read_bytes().rstrip() + b"\n" for path in found))


def _run(command: tuple[str, ...], where: Path) -> str:
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        said = f"{done.stderr}{done.stdout}".strip()[-2000:]
        raise Refused(f"`{command[0]}` could not fetch or unpack Debian's packages for the image: {said}")
    return done.stdout
