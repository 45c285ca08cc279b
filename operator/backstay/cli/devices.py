"""`backstay devices`: which devices there are, what they run, and which of them a person should look at."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from backstay.cli import names
from backstay.cli.caller import Caller, KubeconfigOption, NamespaceOption
from backstay.cli.output import Output, OutputOption, list_of, show
from backstay.core.planes import Plane

if TYPE_CHECKING:
    from backstay.api.edgedevice import EdgeDevice

NONE: Final = "-"


class Order(StrEnum):
    """What `--sort` takes."""

    NAME = "name"
    FIRMWARE = "firmware"
    MODEL = "model"
    CONFIG = "config"
    REASON = "reason"
    SINCE = "since"


def devices(
    selector: Annotated[
        str | None, typer.Option("--selector", "-l", help="Only devices with these labels, in kubectl's words.")
    ] = None,
    gateway: Annotated[
        str | None, typer.Option(help="Only devices behind this gateway.", autocompletion=names.gateways)
    ] = None,
    running: Annotated[list[str] | None, typer.Option(help="Only devices that run PLANE=VERSION; repeatable.")] = None,
    not_ready: Annotated[bool, typer.Option("--not-ready", help="Only devices that are not Ready.")] = False,
    sort: Annotated[Order, typer.Option(help="By which column.")] = Order.NAME,
    counts: Annotated[
        bool, typer.Option("--count", help="Only how many devices run each set of versions, the most first.")
    ] = False,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """List devices with what they run by their own word. Nothing is changed."""
    wanted = [_running(text) for text in running or []]

    def is_meant(device: "EdgeDevice") -> bool:
        return all(_version(device, plane) == version for plane, version in wanted) and not (
            not_ready and _ready(device)[0] == "True"
        )

    documents = asyncio.run(_read(Caller(namespace, kubeconfig), selector, gateway))
    found = sorted(filter(is_meant, _devices(documents)), key=_key(sort))
    names = {device.metadata.name for device in found}

    def document() -> object:
        if counts:
            return [{**dict(zip(map(str, Plane), key, strict=True)), "devices": n} for key, n in _sets(found)]
        by_name = {one["metadata"]["name"]: one for one in documents if one["metadata"]["name"] in names}
        return list_of([by_name[device.metadata.name] for device in found])

    def text() -> None:
        if counts:
            _print_sets(found)
        else:
            _print(found, wide=output is Output.WIDE)

    show(output, document, text, (f"edgedevice.backstay.dev/{device.metadata.name}" for device in found))


async def _read(caller: Caller, selector: str | None, gateway: str | None) -> list[dict[str, Any]]:
    from backstay.adapters.kube.client import EDGE_DEVICES

    field = None if gateway is None else f"spec.gateway={gateway}"
    async with caller.connected() as (kube, namespace):
        return list(await kube.list(EDGE_DEVICES, namespace, field_selector=field, label_selector=selector))


def _devices(documents: Iterable[dict[str, Any]]) -> "Iterable[EdgeDevice]":
    from backstay.api.edgedevice import EdgeDevice

    return map(EdgeDevice.from_document, documents)


def _running(text: str) -> tuple[Plane, str]:
    from backstay.errors import Refused

    plane, equals, version = text.partition("=")
    if not equals or plane not in set(Plane):
        raise Refused(f"--running {text}: write PLANE=VERSION, with one of the planes {', '.join(Plane)}")
    return Plane(plane), version


def _version(device: "EdgeDevice", plane: Plane) -> str:
    found = device.status.planes.by_plane().get(plane)
    return found.version if found is not None and found.version else NONE


def _ready(device: "EdgeDevice") -> tuple[str, str]:
    found = next((one for one in device.status.conditions if one.type == "Ready"), None)
    return ("Unknown", "") if found is None else (str(found.status), found.reason)


def _since(device: "EdgeDevice") -> str:
    found = next((one for one in device.status.conditions if one.type == "Ready"), None)
    return "" if found is None else found.last_transition_time.strftime("%Y-%m-%d %H:%M:%SZ")


def _key(order: Order) -> "Callable[[EdgeDevice], tuple[str, str]]":
    def key(device: "EdgeDevice") -> tuple[str, str]:
        match order:
            case Order.NAME:
                by = ""
            case Order.REASON:
                by = _ready(device)[1]
            case Order.SINCE:
                by = _since(device)
            case _:
                by = _version(device, Plane(order.value))
        return by, device.metadata.name

    return key


def _sets(found: "Iterable[EdgeDevice]") -> list[tuple[tuple[str, ...], int]]:
    return Counter(tuple(_version(device, plane) for plane in Plane) for device in found).most_common()


def _print_sets(found: "list[EdgeDevice]") -> None:
    from rich.table import Table

    from backstay.cli.paper import paper

    table = Table(box=None, padding=(0, 2), header_style="bold")
    for plane in Plane:
        table.add_column(str(plane), no_wrap=True)
    table.add_column("devices", justify="right", no_wrap=True)
    for key, number in _sets(found):
        table.add_row(*key, str(number))
    paper().print(table)


def _print(found: "list[EdgeDevice]", *, wide: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from backstay.cli.paper import paper

    table = Table(box=None, padding=(0, 2), header_style="bold")
    more = ("since", "class", "behind", "failing") if wide else ()
    for title in ("name", *map(str, Plane), "ready", "reason", *more):
        table.add_column(title, no_wrap=True)
    for device in found:
        ready, reason = _ready(device)
        cells = [device.metadata.name, *(_version(device, plane) for plane in Plane)]
        extra = (
            _since(device),
            device.spec.device_class,
            device.spec.gateway or device.spec.node or NONE,
            ", ".join(device.status.health.failing) or NONE,
        )
        style = "" if ready == "True" else "red" if ready == "False" else "dim"
        table.add_row(*cells, Text(ready, style=style), reason or NONE, *(extra if wide else ()))
    paper().print(table)
