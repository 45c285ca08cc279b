"""The names that the shell completes: what there is of each kind, where the command that is being typed would look.

Whoever presses TAB waits, and can do nothing about an error: after a moment, or without an answer, there are no names.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:
    from backstay.adapters.kube.client import Resource

    Documents = tuple[dict[str, Any], ...]

PATIENCE_SECONDS: Final = 2.0

Names = Callable[[typer.Context, str], list[tuple[str, str]]]


def plans(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """ReleasePlans, each with its phase."""
    from backstay.adapters.kube.client import RELEASE_PLANS

    return _starting(incomplete, _named(_asked(context, RELEASE_PLANS), lambda one: one["status"]["phase"]))


def rings(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The rings of the plan that stands before, each with whether it has passed."""
    from backstay.adapters.kube.client import RELEASE_PLANS

    plan = context.params.get("plan")
    found = [one for one in _asked(context, RELEASE_PLANS) if one["metadata"]["name"] == plan]
    every = [ring for one in found for ring in (one.get("status") or {}).get("rings") or ()]
    return _starting(incomplete, [(ring["name"], "passed" if ring.get("passed") else "") for ring in every])


def devices(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """EdgeDevices, each with its class."""
    from backstay.adapters.kube.client import EDGE_DEVICES

    return _starting(incomplete, _named(_asked(context, EDGE_DEVICES), lambda one: one["spec"]["class"]))


def nodes(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The EdgeDevices that are nodes."""
    from backstay.adapters.kube.client import EDGE_DEVICES

    found = tuple(one for one in _asked(context, EDGE_DEVICES) if one["spec"].get("node"))
    return _starting(incomplete, _named(found, lambda one: f"node {one['spec']['node']}"))


def gateways(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The gateways that EdgeDevices name."""
    from backstay.adapters.kube.client import EDGE_DEVICES

    found = {str(one["spec"].get("gateway") or "") for one in _asked(context, EDGE_DEVICES)}
    return _starting(incomplete, [(name, "") for name in sorted(found - {""})])


def plans_and_devices(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Whatever can be asked why it is where it is."""
    return plans(context, incomplete) + devices(context, incomplete)


def groups(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """DeviceGroups, each with how many of its devices are ready."""
    from backstay.adapters.kube.client import DEVICE_GROUPS

    named = _named(_asked(context, DEVICE_GROUPS), lambda one: f"{one['status']['summary']['ready']} ready")
    return _starting(incomplete, named)


def holds(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Holds, each with its reason."""
    from backstay.adapters.kube.client import HOLDS

    return _starting(incomplete, _named(_asked(context, HOLDS), lambda one: one["spec"]["reason"]))


def namespaces(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The cluster's namespaces, as far as the caller may see them."""
    from backstay.adapters.kube.client import Resource

    every = _asked(context, Resource("", "v1", "namespaces", namespaced=False))
    return _starting(incomplete, _named(every, lambda _: ""))


def _asked(context: typer.Context, resource: "Resource") -> "Documents":
    """What there is of a kind; nothing where that cannot be known in a moment."""
    with suppress(Exception):
        return asyncio.run(_listed(context, resource))
    return ()


async def _listed(context: typer.Context, resource: "Resource") -> "Documents":
    from backstay.cli.caller import Caller

    kubeconfig = context.params.get("kubeconfig")
    caller = Caller(context.params.get("namespace"), None if kubeconfig is None else Path(kubeconfig))
    async with asyncio.timeout(PATIENCE_SECONDS), caller.connected() as (kube, namespace):
        return tuple(await kube.list(resource, namespace if resource.namespaced else None))


def _named(documents: Iterable[dict[str, Any]], note: Callable[[dict[str, Any]], str]) -> Iterator[tuple[str, str]]:
    for one in sorted(documents, key=lambda found: str(found["metadata"]["name"])):
        words = ""
        with suppress(KeyError, TypeError):
            words = str(note(one)).split("\n")[0]
        yield one["metadata"]["name"], words


def _starting(incomplete: str, named: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, note) for name, note in named if name.startswith(incomplete)]
