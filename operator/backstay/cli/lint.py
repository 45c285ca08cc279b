"""`backstay lint`: says what is wrong with manifests before anybody applies them. It needs no cluster."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from backstay.cli.output import Output, OutputOption, show
from backstay.cli.statuses import ExitStatus

if TYPE_CHECKING:
    from backstay.lint.checking import Report
    from backstay.lint.finding import Finding

STANDARD_INPUT: Final = "-"
CLASSES: Final = ("esp32", "rk3566")
SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})


def lint(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Files, folders with all that is in them, or - for stdin.")
    ],
    registry: Annotated[
        bool, typer.Option("--registry", help="Also ask the registry whether artifacts are there, and what they are.")
    ] = False,
    keys: Annotated[
        Path | None, typer.Option(help="With --registry: directory of the public keys that may sign artifacts.")
    ] = None,
    device_class: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            help="With --registry: a device class to look for; repeatable. Without it those of the EdgeDevices here, "
            "or every one.",
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail too.")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Check manifests without a cluster, alone and together: what would be refused, and what is rarely meant.

    Errors are what the API server or the operator would refuse. Each line is FILE:LINE:COLUMN: error: FIELD: why; with
    -o name, the files that something was found in. Ends with status 1 where there is an error, and with --strict where
    there is a warning.
    """
    from backstay.adapters.system_clock import SystemClock
    from backstay.lint.checking import check
    from backstay.lint.finding import Severity

    report = check(_texts(paths), SystemClock().now())
    if registry:
        asyncio.run(_ask_registry(report, keys, tuple(device_class or ())))
    show(
        output,
        lambda: _document(report),
        lambda: _print(report),
        dict.fromkeys(one.place.file for one in report.findings),
    )
    if report.count(Severity.ERROR) or (strict and report.findings):
        raise typer.Exit(ExitStatus.FAILED)


async def _ask_registry(report: "Report", keys: Path | None, classes: tuple[str, ...]) -> None:
    import aiohttp

    from backstay.adapters.oci.public_keys import load_keys
    from backstay.adapters.oci.registry import OciRegistry
    from backstay.adapters.oci.transport import Transport
    from backstay.adapters.oci.verify import verifier_with
    from backstay.api import EdgeDevice
    from backstay.lint.artifacts import Asked, look_at_artifacts

    devices = (one.resource for one in report.objects if isinstance(one.resource, EdgeDevice))
    classes = classes or tuple(sorted({device.spec.device_class for device in devices})) or CLASSES
    async with aiohttp.ClientSession() as session:
        transport = Transport(session)
        registry = OciRegistry(transport)
        verifier = verifier_with(load_keys(keys) if keys else {}, transport, registry)
        await look_at_artifacts(report.objects, Asked(registry, verifier, classes))


def _texts(paths: list[str]) -> Iterator[tuple[str, str]]:
    from backstay.errors import NotFound, Refused

    for name in paths:
        if name == STANDARD_INPUT:
            yield "stdin", sys.stdin.read()
            continue
        if not Path(name).exists():
            raise NotFound(f"there is no {name}")
        for file in _files(Path(name)):
            try:
                yield str(file), file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise Refused(f"cannot read {file}: {error}") from error


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for inner in sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in inner.relative_to(path).parts)
        if inner.suffix in SUFFIXES and inner.is_file() and not hidden:
            yield inner


def _print(report: "Report") -> None:
    for found in report.findings:
        print(found)
    print(_summary(report), file=sys.stderr)


def _summary(report: "Report") -> str:
    from backstay.lint.finding import Severity

    errors, warnings = report.count(Severity.ERROR), report.count(Severity.WARNING)
    parts = [_number(len(report.objects), "object"), _number(errors, "error"), _number(warnings, "warning")]
    if report.others:
        parts.append(f"{_number(report.others, 'document')} of other kinds passed over")
    return ", ".join(parts)


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _document(report: "Report") -> dict[str, Any]:
    return {
        "objects": len(report.objects),
        "passedOver": report.others,
        "findings": [_finding(found) for found in report.findings],
    }


def _finding(found: "Finding") -> dict[str, Any]:
    return {
        "file": found.place.file,
        "line": found.place.line,
        "column": found.place.column,
        "severity": found.severity.value,
        "subject": found.subject,
        "path": found.path,
        "message": found.message,
    }
