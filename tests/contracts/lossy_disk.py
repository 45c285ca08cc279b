"""A disk that forgets: what a power cut may leave of the changes that a program made, seen from its system calls.

`strace` records what the program asked the kernel for. The record is played onto a model of a directory, in which
every file and every directory has what the program sees and what is surely on the disk: a file's bytes since its last
fsync, a directory's names since its own. After each call three things may be found once the power is back: everything,
only what is surely there, or all names but of the bytes only those that are surely there.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

CALLS: Final = (
    "openat,write,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,symlink,symlinkat,mkdir,mkdirat,close"
)
_LINE: Final = re.compile(r"(?P<pid>\d+) +(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)")
_UNFINISHED: Final = re.compile(r"(?P<pid>\d+) +(?P<begin>.*) <unfinished \.\.\.>")
_RESUMED: Final = re.compile(r"(?P<pid>\d+) +<\.\.\. \w+ resumed>(?P<rest>.*)")
_TEXT: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass(eq=False)
class File:
    seen: bytes = b""
    sure: bytes = b""


@dataclass(eq=False)
class Link:
    target: str


@dataclass(eq=False)
class Directory:
    seen: dict[str, "File | Link | Directory"] = field(default_factory=dict)
    sure: dict[str, "File | Link | Directory"] = field(default_factory=dict)


Node = File | Link | Directory


def read(path: Path) -> Node:
    """The model of what lies there, all of it surely on the disk."""
    if path.is_symlink():
        return Link(str(path.readlink()))
    if path.is_dir():
        entries = {one.name: read(one) for one in path.iterdir()}
        return Directory(dict(entries), dict(entries))
    data = path.read_bytes()
    return File(data, data)


def write(node: Node, path: Path, *, names: str, data: str) -> None:
    """Make what is found when the power is back; `names` and `data` are each `seen` or `sure`."""
    match node:
        case Link(target):
            path.symlink_to(target)
        case File():
            path.write_bytes(getattr(node, data))
            path.chmod(0o755)
        case Directory():
            path.mkdir()
            for name, one in getattr(node, names).items():
                write(one, path / name, names=names, data=data)


class LossyDisk:
    """A directory's model, changed by one recorded call after another."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.top = read(root)
        self._open: dict[int, Node] = {}

    def play(self, trace: Path) -> Iterator[str]:
        """Play the calls of a trace; after each that changed something, its line is yielded."""
        for line in _whole_lines(trace):
            if (found := _LINE.match(line)) and int(found["result"]) >= 0:
                texts = [bytes.fromhex(text.replace("\\x", "")) for text in _TEXT.findall(found["arguments"])]
                if self._change(found["name"], found["arguments"], texts, int(found["result"])):
                    yield line

    def leave(self, path: Path, *, names: str, data: str) -> None:
        write(self.top, path, names=names, data=data)

    def _change(self, name: str, arguments: str, texts: list[bytes], result: int) -> bool:
        paths = [Path(os.fsdecode(text)) for text in texts]
        match name:
            case "close":
                self._open.pop(int(arguments), None)
                return False
            case "openat":
                return self._opened(paths[0], arguments, result)
            case "write":
                node = self._open.get(int(arguments.partition(",")[0]))
                if isinstance(node, File):
                    node.seen += texts[0]
                return node is not None
            case "fsync" | "fdatasync":
                return _make_sure(self._open.get(int(arguments)))
            case _:
                return self._names_changed(name, paths)

    def _opened(self, path: Path, arguments: str, result: int) -> bool:
        self._open.pop(result, None)
        if not path.is_relative_to(self.root):
            return False
        changed = "O_CREAT" in arguments or "O_TRUNC" in arguments
        if path == self.root:
            self._open[result] = self.top
            return False
        parent = self._directory(path.parent)
        if "O_CREAT" in arguments:
            parent.seen.setdefault(path.name, File())
        node = parent.seen[path.name]
        if isinstance(node, File) and "O_TRUNC" in arguments:
            node.seen = b""
        self._open[result] = node
        return changed

    def _names_changed(self, name: str, paths: list[Path]) -> bool:
        if not paths[-1].is_relative_to(self.root):
            return False
        parent, last = self._directory(paths[-1].parent), paths[-1].name
        match name.removesuffix("2").removesuffix("at"):
            case "rename":
                parent.seen[last] = self._directory(paths[0].parent).seen.pop(paths[0].name)
            case "unlink":
                del parent.seen[last]
            case "symlink":
                parent.seen[last] = Link(str(paths[0]))
            case "mkdir":
                parent.seen[last] = Directory()
        return True

    def _directory(self, path: Path) -> Directory:
        node: Node = self.top
        for name in path.relative_to(self.root).parts:
            assert isinstance(node, Directory)
            node = node.seen[name]
        assert isinstance(node, Directory)
        return node


def _make_sure(node: Node | None) -> bool:
    match node:
        case File():
            node.sure = node.seen
        case Directory():
            node.sure = dict(node.seen)
    return node is not None


def _whole_lines(trace: Path) -> Iterator[str]:
    """The calls in the order in which they ended, each in one line."""
    begun: dict[str, str] = {}
    for line in trace.read_text(encoding="ascii").splitlines():
        if found := _UNFINISHED.fullmatch(line):
            begun[found["pid"]] = f"{found['pid']} {found['begin']}"
        elif found := _RESUMED.fullmatch(line):
            yield begun.pop(found["pid"]) + found["rest"]
        else:
            yield line


def recorded(command: tuple[str, ...], trace: Path) -> None:
    """Run a program to its end and record its calls."""
    options = ("strace", "-f", "-xx", "-s", "100000000", "-e", f"trace={CALLS}", "-o", trace)
    subprocess.run((*options, *command), check=True)
