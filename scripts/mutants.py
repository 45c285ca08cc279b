"""Change the decision core in small ways, one at a time, and tell which changes no test notices.

python scripts/mutants.py [MODULE …] [--tests PATH …]

A mutant that survives is a law that is missing, or one that changes nothing that anybody could see; those stand with
their reasons in `docs/reference/mutants.md` and are not told again. What the type checker refuses counts as noticed.
"""

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
CORE: Final = ROOT / "operator" / "backstay" / "core"
KNOWN: Final = ROOT / "docs" / "reference" / "mutants.md"
BUILD: Final = ROOT / "build" / "mutants"
SPINNER: Final = re.compile(r"[\u2800-\u28ff]|$")
UNREACHABLE: Final = "assert_never("
"""What the type checker has proved that nothing reaches."""
TESTS: Final = ("tests/core", "tests/laws", "tests/stories")
PROCESSES: Final = 2

# A working copy, because the tool takes the name of a module from its path, and only below `src`.
SETTINGS: Final = """
[tool.mutmut]
source_paths = ["src/backstay"]
only_mutate = {mutated}
also_copy = ["src/quick_first.py"]
pytest_add_cli_args = ["-p", "quick_first", "-p", "no:cacheprovider", "--hypothesis-profile=mutants"]
pytest_add_cli_args_test_selection = {tests}
type_check_command = {checks}
timeout_multiplier = 2.0
timeout_constant = 10.0
use_git_change_detection = false
"""
QUICK_FIRST: Final = '''"""The laws last: what a plain test notices need not be found at random."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: "/laws/" in item.nodeid)
'''


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change, as the function that it is made in and the lines that differ."""

    function: str
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join((f"### `{self.function}`", "", "```diff", *self.lines, "```", ""))


def prepare(work: Path, modules: list[str], tests: list[str]) -> None:
    """Lay out what the tool works on."""
    shutil.rmtree(work, ignore_errors=True)
    leave_out = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "operator" / "backstay", work / "src" / "backstay", ignore=leave_out)
    shutil.copytree(ROOT / "tests", work / "tests", ignore=leave_out)
    paths = [f"src/backstay/core/{module}.py" for module in modules]
    checks = [sys.executable, "-m", "mypy", "--output=json", "--no-warn-unused-ignores", *paths]
    settings = SETTINGS.format(mutated=paths, tests=tests, checks=checks)
    project = (
        (ROOT / "pyproject.toml").read_text().replace('"operator"', '"src"').replace('"ignore-without-code", ', "")
    )
    (work / "pyproject.toml").write_text(project + settings)
    (work / "src" / "quick_first.py").write_text(QUICK_FIRST)


def mutmut(work: Path, *arguments: str) -> str:
    """Ask the tool for what it has found."""
    tool = Path(sys.executable).parent / "mutmut"
    return subprocess.run([tool, *arguments], cwd=work, check=True, text=True, capture_output=True).stdout


def try_all(work: Path) -> None:
    """Try every mutant; who waits at a terminal sees how far it is.

    Raises:
        SystemExit: the tests fail also without any mutant, or nothing could be tried.
    """
    tool = Path(sys.executable).parent / "mutmut"
    told = work / "log"
    with told.open("w") as log:
        output = None if sys.stdout.isatty() else log
        done = subprocess.run(
            [tool, "run", f"--max-children={PROCESSES}"], cwd=work, check=False, stdout=output, stderr=output
        )
    if done.returncode != 0:
        lines = [line for line in told.read_text().splitlines() if not SPINNER.match(line)]
        raise SystemExit("\n".join((*lines, "the mutants could not be tried")))


def survivors(work: Path) -> Iterator[Mutant]:
    """Every mutant that no test noticed."""
    for line in mutmut(work, "results").splitlines():
        name, _, verdict = line.strip().partition(": ")
        if verdict in {"survived", "no tests", "suspicious"}:
            mutant = mutant_of(name, mutmut(work, "show", name))
            if not any(UNREACHABLE in line for line in mutant.lines):
                yield mutant


def mutant_of(name: str, shown: str) -> Mutant:
    """Read the tool's name and its difference."""
    module, _, mangled = name.removeprefix("backstay.core.").partition(".x")
    function = mangled.rpartition("__mutmut_")[0][1:].replace("ǁ", ".")
    changed = (line for line in shown.splitlines() if re.match(r"[-+](?![-+])", line))
    return Mutant(f"{module}.{function}", tuple(f"{line[0]} {line[1:].strip()}" for line in changed))


def known() -> set[Mutant]:
    """The mutants that are written down as equivalent."""
    if not KNOWN.exists():
        return set()
    found = re.findall(r"^### `([^`]+)`\n+```diff\n(.*?)^```", KNOWN.read_text(), re.MULTILINE | re.DOTALL)
    return {Mutant(function, tuple(lines.splitlines())) for function, lines in found}


def main() -> int:
    """Test the tests; the status is 1 where a mutant survives that nobody has explained."""
    every = sorted(path.stem for path in CORE.glob("*.py") if path.stem != "__init__")
    reader = argparse.ArgumentParser(description="Which changes to the decision core does no test notice?")
    reader.add_argument("modules", nargs="*", choices=[*every, []], metavar="MODULE", help="of backstay.core")
    reader.add_argument("--tests", nargs="+", default=list(TESTS), metavar="PATH")
    chosen = reader.parse_args()
    modules = chosen.modules or every
    work = BUILD / ("-".join(chosen.modules) or "core")
    prepare(work, modules, chosen.tests)
    try_all(work)
    found = list(survivors(work))
    unexplained = [mutant for mutant in found if mutant not in known()]
    for mutant in unexplained:
        sys.stdout.write(f"{mutant}\n")
    sys.stdout.write(f"{', '.join(modules)}: {len(unexplained)} survive, {len(found) - len(unexplained)} are known\n")
    return 1 if unexplained else 0


if __name__ == "__main__":
    raise SystemExit(main())
