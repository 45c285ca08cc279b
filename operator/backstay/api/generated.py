"""Files that are made from the models, and the command that writes them or finds what differs."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backstay.errors import Refused


class Drift(Refused):
    """Generated files are not what the models say."""


@dataclass(frozen=True, slots=True)
class Generated:
    """The files of one directory, by name, and the command that makes them; all files of their suffix are theirs."""

    command: str
    directory: Path
    files: Mapping[str, str]
    suffix: str
    source: str = "the models in operator/backstay/api"

    def write(self, directory: Path) -> None:
        """Write every file."""
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in self.files.items():
            (directory / name).write_text(text, encoding="utf-8")

    def check(self, directory: Path) -> None:
        """Compare a directory with the models.

        Raises:
            Drift: naming the files that are missing, different, or of no kind.
        """
        found = {path.name: path.read_text(encoding="utf-8") for path in directory.glob(f"*{self.suffix}")}
        names = self.files.keys() | found.keys()
        wrong = sorted(str(directory / name) for name in names if self.files.get(name) != found.get(name))
        if wrong:
            message = (
                f"not what {self.source} say: {', '.join(wrong)}; "
                f"run `{self.command} {directory}` and commit what changes"
            )
            raise Drift(message)

    def run(self, arguments: Sequence[str] | None) -> int:
        """Obey a command line: write the directory, or say what differs; the result is the exit status."""
        parser = argparse.ArgumentParser(prog=self.command)
        parser.add_argument(
            "directory", nargs="?", type=Path, default=self.directory, help=f"where (default: {self.directory})"
        )
        parser.add_argument("--check", action="store_true", help="change nothing; fail where a file differs")
        given = parser.parse_args(arguments)
        if not given.check:
            self.write(given.directory)
            return 0
        try:
            self.check(given.directory)
        except Drift as drift:
            sys.stderr.write(f"{drift}\n")
            return 1
        return 0
