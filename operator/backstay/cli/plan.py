"""`backstay plan`: shows whom a release would reach, and by which steps, before anything ships."""

import asyncio
import json
import os
import sys
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from backstay.simulate.rollout.documents import WrittenRelease
    from backstay.simulate.rollout.fleets import MadeFleet
    from backstay.simulate.rollout.preview import Preview

WOULD_BE_REFUSED = 2


def plan(
    file: Annotated[Path, typer.Argument(help="YAML or JSON with one ReleasePlan, and what stands beside it.")],
    fleet: Annotated[
        str | None, typer.Option(help="A number of devices to make up, or a file; without it, the live cluster.")
    ] = None,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Namespace of a plan that names none.")
    ] = "default",
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Identity to use; without it $KUBECONFIG, or ~/.kube/config.")
    ] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="text or json.")] = "text",
) -> None:
    """Show who is in which ring, each path with its count, what would be refused, and how long it takes at best.

    Ends with status 2 where the plan would be refused. Nothing is changed anywhere.
    """
    from backstay.adapters.system_clock import SystemClock
    from backstay.errors import Refused
    from backstay.simulate.rollout.documents import read_release
    from backstay.simulate.rollout.fleets import fleet_for, known_releases
    from backstay.simulate.rollout.preview import preview

    if output not in {"text", "json"}:
        raise Refused(f"-o {output}: write text or json")
    release = read_release(file, namespace)
    if fleet is None:
        found = kubeconfig or Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")
        release, made = asyncio.run(_live(release, found))
    else:
        made = fleet_for(fleet, release)
    seen = preview(release, made.devices, known_releases(release, made), SystemClock().now())
    if output == "json":
        print(json.dumps(asdict(seen), indent=1, default=_plain))
    else:
        _print(release, made, seen)
    if seen.refusals:
        sys.exit(WOULD_BE_REFUSED)


async def _live(release: "WrittenRelease", kubeconfig: Path) -> "tuple[WrittenRelease, MadeFleet]":
    """The same release with the cluster's groups, rules, holds and devices, and what is known of its artifacts."""
    from dataclasses import replace

    from backstay.adapters.kube.client import (
        DEVICE_GROUPS,
        EDGE_DEVICES,
        HEALTH_RULES,
        HOLDS,
        RELEASE_PLANS,
        KubeClient,
    )
    from backstay.api import DeviceGroup, HealthRule, Hold
    from backstay.api.device_conversion import device_from
    from backstay.controllers.failpoints import Failpoints
    from backstay.controllers.snapshots import Snapshots
    from backstay.errors import Refused
    from backstay.simulate.rollout.documents import release_of, with_releases
    from backstay.simulate.rollout.fleets import MadeFleet, in_groups

    namespace = release.plan.namespace
    async with KubeClient.connect(kubeconfig) as kube:
        groups = [DeviceGroup.from_document(raw) for raw in await kube.list(DEVICE_GROUPS, namespace)]
        rules = [HealthRule.from_document(raw) for raw in await kube.list(HEALTH_RULES, namespace)]
        holds = [Hold.from_document(raw) for raw in await kube.list(HOLDS, namespace)]
        devices = [device_from(raw) for raw in await kube.list(EDGE_DEVICES, namespace)]
        plans = await kube.list(RELEASE_PLANS, namespace)
        snapshots = Snapshots(kube, Failpoints())
        uids = {(namespace, raw["metadata"]["name"]): raw["metadata"]["uid"] for raw in plans}
        await snapshots.load(uids, namespace)
    live = release_of(
        release.document,
        {group.metadata.name: group for group in groups},
        {rule.metadata.name: rule for rule in rules},
        holds,
        namespace,
    )
    live = with_releases(live, lambda reference: snapshots.declared(namespace, reference))
    mine = tuple(in_groups(devices, live.selectors))
    if not mine:
        raise Refused(f"the groups of the plan ({', '.join(live.selectors)}) select no device of namespace {namespace}")
    unread = [
        p for p, v in live.document.spec.versions.by_plane().items() if not snapshots.declared(namespace, v.artifact)
    ]
    if unread:
        words = f"{', '.join(unread)}: not released here before, so only what the plan itself says of it is known"
        live = replace(live, notices=(*live.notices, words))
    return live, MadeFleet(mine, snapshots.known(namespace))


def _print(release: "WrittenRelease", made: "MadeFleet", seen: "Preview") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from backstay.simulate.rollout.times import spoken

    console = Console(highlight=False)
    for notice in (*release.notices, *made.notices):
        console.print(Text(f"note: {notice}", style="dim"))
    versions = ", ".join(str(wanted) for _, wanted in sorted(release.plan.target.items()))
    console.print(Text(f"plan {release.plan.name}: {versions}, for {seen.devices} devices"))
    console.print()
    rings = Table(box=None, padding=(0, 2), header_style="bold")
    for title in ("ring", "devices", "to change", "at once", "held", "offline", "at best"):
        rings.add_column(title, justify="left" if title == "ring" else "right", no_wrap=True)
    rings.add_column("first")
    for ring in seen.rings:
        more = ", …" if ring.devices > len(ring.first) else ""
        cells = (ring.devices, ring.to_change, ring.at_once, ring.held, ring.unreachable)
        rings.add_row(ring.name, *map(str, cells), spoken(ring.at_best), f"{', '.join(ring.first)}{more}")
    console.print(rings)
    for ring in seen.rings:
        for what in ring.waits_for:
            console.print(Text(f"  ring {ring.name} also waits for {what}"))
    if seen.left_out:
        console.print(Text(f"  no ring takes {seen.left_out} devices; they keep what they run"))
    console.print()
    for path in seen.paths:
        console.print(Text(f"{path.devices} devices with {path.running}"))
        console.print(Text(f"  {path.steps}"))
    console.print()
    if seen.refusals:
        console.print(Text("it would be refused:", style="bold red"))
        for refusal in seen.refusals:
            console.print(Text(f"  {refusal}"))
    else:
        console.print(Text(f"nothing refuses it; at best it has succeeded after {spoken(seen.at_best)}"))


def _plain(value: object) -> object:
    return value.total_seconds() if isinstance(value, timedelta) else str(value)
