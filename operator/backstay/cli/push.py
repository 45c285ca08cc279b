"""`backstay push`: put one version of one plane into a registry, and print the reference that plans name it by."""

import asyncio
import re
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from backstay.core.planes import Plane
from backstay.errors import Refused

if TYPE_CHECKING:
    from backstay.adapters.oci.new_artifact import NewArtifact
    from backstay.ports.registry import ArtifactDescription

A = TypeVar("A")
T = TypeVar("T")

_REQUIREMENT: Final = re.compile(r"([a-z]+)\s*(.*)")
_SHORT_BOUND: Final = re.compile(r"(>=|<)\s*([0-9]+)(\.[0-9]+)?")


class Output(StrEnum):
    """What is printed on standard output."""

    REFERENCE = "reference"
    JSON = "json"


def push(
    file: Annotated[Path, typer.Argument(help="The payload: an image, a model file, or a config in JSON.")],
    plane: Annotated[Plane, typer.Option(help="The plane that it is a version of.")],
    version: Annotated[str, typer.Option(help="Its semantic version, such as 2.4.1.")],
    device_class: Annotated[str, typer.Option("--class", help="The device class that it is for, such as esp32.")],
    repository: Annotated[str, typer.Option(help="Where to put it: HOST[:PORT]/REPOSITORY.")],
    requires: Annotated[
        list[str] | None,
        typer.Option(help="What it needs of another plane, such as 'firmware>=2.2.0,<3'; may be repeated."),
    ] = None,
    schema: Annotated[Path | None, typer.Option(help="For a config: the JSON Schema that travels with it.")] = None,
    release_number: Annotated[int | None, typer.Option(help="A number that grows with each release.")] = None,
    samples: Annotated[
        Path | None, typer.Option(help="For a model: golden samples in JSON that travel with it; see --served-as.")
    ] = None,
    served_as: Annotated[
        str | None,
        typer.Option(help="For a model: MODEL or MODEL/VERSION, as inference servers on devices name it."),
    ] = None,
    npu_targets: Annotated[
        list[str] | None,
        typer.Option("--npu-target", help="A chip that it is compiled for, such as rk3566; may be repeated."),
    ] = None,
    min_driver: Annotated[str | None, typer.Option(help="The oldest driver of the NPU that it runs with.")] = None,
    min_runtime: Annotated[str | None, typer.Option(help="The oldest inference runtime that it runs with.")] = None,
    form: Annotated[
        str | None, typer.Option(help="For a Linux node's firmware: what it is, system, pod, unit or program.")
    ] = None,
    output: Annotated[
        Output, typer.Option("--output", "-o", help="The reference alone, or JSON with the content's digest too.")
    ] = Output.REFERENCE,
) -> None:
    """Check a file, push it as an artifact, read it back, and print its reference by digest."""
    from semver import Version

    from backstay.adapters.oci.new_artifact import NewArtifact
    from backstay.core.needs import Needs, ServedAs

    requirements = read_requirements(requires or [])
    served = None if served_as is None else _read("--served-as", ServedAs.parse, served_as)
    driver, runtime = (
        None if text is None else _read(option, Version.parse, text)
        for option, text in (("--min-driver", min_driver), ("--min-runtime", min_runtime))
    )
    needs = _read("--npu-target or --form", lambda chips: Needs(tuple(chips), driver, runtime, form), npu_targets or [])
    artifact = NewArtifact(
        plane, version, device_class, file, requirements, schema, release_number, samples, served, needs
    )
    described = asyncio.run(_push(repository, artifact))
    typer.echo(described.reference if output is Output.REFERENCE else _as_json(described))


def _read(option: str, reader: Callable[[A], T], given: A) -> T:
    try:
        return reader(given)
    except ValueError as error:
        raise Refused(f"{option}: {error}") from error


def read_requirements(texts: list[str]) -> dict[str, str]:
    """Read `firmware>=2.2.0,<3` into a mapping of planes to ranges; a bound without all its numbers gets zeros.

    Raises:
        Refused: a text does not begin with a plane, or a plane comes twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        if not (parts := _REQUIREMENT.fullmatch(text.strip())) or not parts[2]:
            raise Refused(f"{text!r} is not a requirement: write a plane and a range, such as 'firmware>=2.2.0,<3'")
        plane, versions = parts.groups()
        if plane in found:
            raise Refused(f"{plane} is required twice: join its comparators by a comma")
        found[plane] = ",".join(_whole_bound(bound.strip()) for bound in versions.split(","))
    return found


def _whole_bound(bound: str) -> str:
    # Only where it is plain what was meant: `>2` could be above 2.0.0 or from 3.0.0 on.
    if parts := _SHORT_BOUND.fullmatch(bound):
        return f"{parts[1]}{parts[2]}{parts[3] or '.0'}.0"
    return bound


async def _push(repository: str, artifact: "NewArtifact") -> "ArtifactDescription":
    import aiohttp

    from backstay.adapters.oci.push import push_artifact
    from backstay.adapters.oci.registry import OciRegistry
    from backstay.adapters.oci.transport import Transport
    from backstay.ports.registry import Repository

    async with aiohttp.ClientSession() as session:
        registry = OciRegistry(Transport(session))
        return await push_artifact(
            registry,
            Repository.parse(repository),
            artifact,
            lambda step: typer.echo(f"{artifact.plane}: {step}", err=True),
        )


def _as_json(described: "ArtifactDescription") -> str:
    import orjson

    return orjson.dumps(
        {
            "reference": str(described.reference),
            "content": described.content,
            "size": described.size_bytes,
            "plane": described.plane,
            "version": described.version,
            "class": described.device_class,
            "requires": {str(need.plane): need.range.text for need in described.requires},
        },
        option=orjson.OPT_INDENT_2,
    ).decode()
