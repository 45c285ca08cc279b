"""`backstay plan`: shows whom a release would reach, and by which steps, before anything ships."""

import asyncio
import json
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backstay.cli.caller import KubeconfigOption
from backstay.cli.output import Output, OutputOption, show
from backstay.cli.statuses import ExitStatus

if TYPE_CHECKING:
    from backstay.simulate.rollout.documents import WrittenRelease
    from backstay.simulate.rollout.fleets import MadeFleet
    from backstay.simulate.rollout.preview import Preview


def plan(
    file: Annotated[Path, typer.Argument(help="YAML or JSON with one ReleasePlan, and what stands beside it.")],
    fleet: Annotated[
        str | None, typer.Option(help="A number of devices to make up, or a file; without it, the live cluster.")
    ] = None,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Namespace of a plan that names none.")
    ] = "default",
    kubeconfig: KubeconfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show who is in which ring, each path with its count, what would be refused, and how long it takes at best.

    Ends with status 3 where the plan would be refused. Nothing is changed anywhere.
    """
    from backstay.adapters.system_clock import SystemClock
    from backstay.simulate.rollout.documents import read_release
    from backstay.simulate.rollout.fleets import fleet_for, known_releases
    from backstay.simulate.rollout.preview import preview

    release = read_release(file, namespace)
    if fleet is None:
        release, made = asyncio.run(_live(release, kubeconfig))
    else:
        made = fleet_for(fleet, release)
    seen = preview(release, made.devices, known_releases(release, made), SystemClock().now())
    document = json.loads(json.dumps(asdict(seen), default=_plain))
    show(
        output, lambda: document, lambda: _print(release, made, seen), [f"releaseplan.backstay.dev/{release.plan.name}"]
    )
    if seen.refusals:
        raise typer.Exit(ExitStatus.NOT_WELL)


async def _live(release: "WrittenRelease", kubeconfig: Path | None) -> "tuple[WrittenRelease, MadeFleet]":
    """The same release with the cluster's groups, rules, holds and devices, and what is known of its artifacts."""
    from dataclasses import replace

    from backstay.cli.live import LiveNamespace
    from backstay.errors import Refused
    from backstay.simulate.rollout.documents import release_of, with_releases
    from backstay.simulate.rollout.fleets import MadeFleet, in_groups

    namespace = release.plan.namespace
    live = await LiveNamespace.read(namespace, kubeconfig)
    snapshots = live.snapshots
    found = release_of(
        release.document,
        live.readable(live.store.groups),
        live.readable(live.store.rules),
        live.readable(live.store.holds).values(),
        namespace,
    )
    found = with_releases(found, lambda reference: snapshots.declared(namespace, reference))
    mine = tuple(in_groups(live.devices, found.selectors))
    if not mine:
        raise Refused(
            f"the groups of the plan ({', '.join(found.selectors)}) select no device of namespace {namespace}"
        )
    versions = found.document.spec.versions.by_plane()
    unread = [plane for plane, one in versions.items() if not snapshots.declared(namespace, one.artifact)]
    if unread:
        words = f"{', '.join(unread)}: not released here before, so only what the plan itself says of it is known"
        found = replace(found, notices=(*found.notices, words))
    return found, MadeFleet(mine, snapshots.known(namespace))


def _print(release: "WrittenRelease", made: "MadeFleet", seen: "Preview") -> None:
    from rich.table import Table
    from rich.text import Text

    from backstay.cli.paper import paper
    from backstay.core.reasons import devices
    from backstay.simulate.rollout.times import spoken

    console = paper()
    for notice in (*release.notices, *made.notices):
        console.print(Text(f"note: {notice}", style="dim"))
    versions = ", ".join(str(wanted) for _, wanted in sorted(release.plan.target.items()))
    console.print(Text(f"plan {release.plan.name}: {versions}, for {devices(seen.devices)}"))
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
        console.print(Text(f"  no ring takes {devices(seen.left_out)}, and what they run stays"))
    console.print()
    for path in seen.paths:
        console.print(Text(f"{devices(path.devices)} with {path.running}"))
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
