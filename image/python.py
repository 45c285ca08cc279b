"""The layers of Python: what the runtime lock names, and Backstay itself."""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

from backstay.errors import Refused
from image.architectures import Architecture
from image.bytecode import VERSION, compile_tree
from image.layers import Component

ROOT: Final = Path(__file__).parents[1]
LOCK: Final = ROOT / "requirements-runtime.lock"
INSIDE: Final = "usr/local/lib/python3.11/dist-packages"
"""Where Debian's Python looks for what does not come from Debian."""
PROGRAM: Final = """\
#!/usr/bin/python3.11
from backstay.cli.main import main

main()
"""


def packages(architecture: Architecture) -> Callable[[Path], tuple[Component, ...]]:
    """What fills the layer of packages.

    The result raises `Refused` if pip cannot fetch one.
    """

    def fill(root: Path) -> tuple[Component, ...]:
        target = root / INSIDE
        with tempfile.TemporaryDirectory() as directory:
            wanted = Path(directory) / "requirements.txt"
            wanted.write_text("".join(locked_for(LOCK.read_text(encoding="utf-8"), architecture)), encoding="utf-8")
            platforms = (f"--platform={platform}" for platform in architecture.wheel_platforms)
            version = ("--implementation=cp", f"--python-version={'.'.join(map(str, VERSION))}", *platforms)
            strict = ("--only-binary=:all:", "--no-deps", "--require-hashes", "--no-compile")
            _run("pip", "install", "--quiet", f"--target={target}", *version, *strict, f"--requirement={wanted}")
        _leave_out(target)
        compile_tree(target, f"/{INSIDE}")
        return tuple(sorted(_components(target), key=lambda one: one.name))

    return fill


def program(root: Path) -> tuple[Component, ...]:
    """Fill the layer of the program.

    Raises `Refused` if its wheel cannot be built.
    """
    target = root / INSIDE
    with tempfile.TemporaryDirectory() as directory:
        _run("hatchling", "build", "--target=wheel", f"--directory={directory}")
        (wheel,) = Path(directory).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(target)
    compile_tree(target, f"/{INSIDE}")
    command = root / "usr" / "bin" / "backstay"
    command.parent.mkdir(parents=True)
    command.write_text(PROGRAM, encoding="ascii")
    command.chmod(0o755)
    return ()


def locked_for(lock: str, architecture: Architecture) -> Iterator[str]:
    """The entries of a universal lock that hold for the image, whatever machine this is; without their conditions.

    An entry is a line that begins at the margin, with the lines of its hashes.
    """
    major_minor = ".".join(map(str, VERSION))
    environment = {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": architecture.machine,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{major_minor}.2",
        "python_version": major_minor,
        "sys_platform": "linux",
        "extra": "",
    }
    taken = False
    for line in lock.splitlines(keepends=True):
        if line[0].isalnum():
            requirement = Requirement(line.split(" \\")[0])
            taken = requirement.marker is None or requirement.marker.evaluate(environment)
            line = f"{requirement.name}{requirement.specifier} \\\n"  # noqa: PLW2901  the same line without its marker
        if taken and not line.lstrip().startswith("#"):
            yield line


def _leave_out(target: Path) -> None:
    shutil.rmtree(target / "bin", ignore_errors=True)
    for path in [path for path in target.rglob("tests") if path.is_dir()]:
        shutil.rmtree(path, ignore_errors=True)


def _components(target: Path) -> Iterator[Component]:
    for path in target.glob("*.dist-info"):
        told = PathDistribution(path).metadata.json
        yield Component("pypi", str(told["name"]), str(told["version"]), str(told.get("license_expression", "")))


def _run(*command: str) -> None:
    whole = (sys.executable, "-m", *command)
    done = subprocess.run(whole, cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        said = f"{done.stderr}{done.stdout}".strip()[-2000:]
        raise Refused(f"`{command[0]}` could not make a layer of the image: {said}")
