"""`backstay status`: how far releases have come, ring by ring, once or as they go."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from backstay.cli.caller import Caller, KubeconfigOption, NamespaceOption
from backstay.cli.output import Output, OutputOption, list_of, show

if TYPE_CHECKING:
    from rich.console import RenderableType

    from backstay.adapters.kube.client import KubeClient
    from backstay.api.releaseplan import ReleasePlan
    from backstay.api.releaseplan_status import RingStatus

BAR_CELLS: Final = 20
REFRESH_SECONDS: Final = 1.0
ENDED_BADLY: Final = frozenset({"RolledBack", "Unresolved", "Halted"})
ENDED: Final = ENDED_BADLY | {"Succeeded", "Superseded"}
NOT_WELL: Final = 3
"""The status that the command ends with where a plan went back, halted, or waits for a person."""


def status(
    plan: Annotated[str | None, typer.Argument(help="Name of a ReleasePlan; without it every one.")] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Go on showing it until the plan has ended, or Ctrl-C.")
    ] = False,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show how far releases have come. Nothing is changed.

    Ends with status 3 where a plan was pulled back, has halted, or waits for a person.
    """
    from backstay.errors import Refused

    caller = Caller(namespace, kubeconfig)
    if watch and output in (Output.JSON, Output.YAML):
        raise Refused("--watch is for people; for programs: kubectl get releaseplans --watch -o json")
    found = asyncio.run(_watched(caller, plan) if watch else _once(caller, plan, output))
    if any(map(_is_unwell, found)):
        raise typer.Exit(NOT_WELL)


async def _once(caller: Caller, name: str | None, output: Output) -> "list[ReleasePlan]":
    async with caller.connected() as (kube, namespace):
        documents = await _read(kube, namespace, name)
    plans = _plans(documents)

    def text() -> None:
        from backstay.cli.paper import paper

        if not plans:
            print(f"there is no ReleasePlan in namespace {namespace}")
        for one in plans:
            paper().print(rendered(one, datetime.now(UTC), wide=output is Output.WIDE))

    show(output, lambda: documents[0] if name else list_of(documents), text)
    return plans


async def _watched(caller: Caller, name: str | None) -> "list[ReleasePlan]":
    """Show it in place on a terminal, and elsewhere whenever it has changed."""
    from rich.console import Group
    from rich.live import Live

    from backstay.cli.paper import paper
    from backstay.errors import Unavailable

    console, shown = paper(), ""
    plans: list[ReleasePlan] = []
    async with caller.connected() as (kube, namespace):
        with Live(console=console, auto_refresh=False, transient=False) as live:
            while True:
                try:
                    plans = _plans(await _read(kube, namespace, name))
                except Unavailable as error:
                    live.console.print(f"{error}; trying again", style="dim")
                else:
                    now = datetime.now(UTC)
                    view = Group(*(rendered(one, now, wide=False) for one in plans))
                    if console.is_terminal:
                        live.update(view, refresh=True)
                    elif (seen := repr([one.status.to_document() for one in plans])) != shown:
                        shown = seen
                        console.print(view)
                    if name and plans and _has_ended(plans[0]):
                        return plans
                await asyncio.sleep(REFRESH_SECONDS)


def _has_ended(plan: "ReleasePlan") -> bool:
    """Whether what the plan asks for now has ended: a phase from before its last edit tells of other versions."""
    return plan.status.phase in ENDED and plan.status.observed_generation == plan.metadata.generation


async def _read(kube: "KubeClient", namespace: str, name: str | None) -> list[dict[str, Any]]:
    from backstay.adapters.kube.client import RELEASE_PLANS

    if name is not None:
        return [await kube.get(RELEASE_PLANS, name, namespace)]
    return sorted(await kube.list(RELEASE_PLANS, namespace), key=lambda one: str(one["metadata"]["name"]))


def _plans(documents: list[dict[str, Any]]) -> "list[ReleasePlan]":
    from backstay.api.releaseplan import ReleasePlan

    return [ReleasePlan.from_document(document) for document in documents]


def rendered(plan: "ReleasePlan", now: datetime, *, wide: bool) -> "RenderableType":
    """One plan: where it stands and why, and its rings."""
    from rich.console import Group
    from rich.text import Text

    found = plan.status
    phase = str(found.phase or "Pending")
    head = Text.assemble((plan.metadata.name, "bold"), "  ", (phase, _colour(plan)))
    if found.ring and phase not in ENDED:
        head.append(f", ring {found.ring}")
    if found.phase_since:
        from backstay.simulate.rollout.times import spoken

        head.append(f", for {spoken(max(timedelta(0), now - found.phase_since))}", style="dim")
    if plan.spec.paused:
        head.append("  PAUSED", style="bold yellow")
    versions = ", ".join(f"{plane} {wanted.version}" for plane, wanted in plan.spec.versions.by_plane().items())
    lines: list[RenderableType] = [head, Text(f"  {versions}   revision {found.revision or 'none yet'}", style="dim")]
    lines.extend(Text(f"  {words}", style=style) for words, style in _why(plan))
    if found.rings:
        lines.append(_table(found.rings, reached=found.ring, wide=wide))
    lines.append(Text())
    return Group(*lines)


def _why(plan: "ReleasePlan") -> "list[tuple[str, str]]":
    """Why it stands there: what stops it, what it waits for, and who was found guilty."""
    conditions = {one.type: one for one in plan.status.conditions}
    told = []
    for kind, style in (("Stalled", "bold red"), ("Reconciling", ""), ("Ready", "")):
        one = conditions.get(kind)
        if one is not None and one.message and (one.status == "True" or kind == "Ready"):
            told.append((f"{one.reason}: {one.message}", style))
            break
    if (guilty := plan.status.culprit) is not None:
        told.append((f"{guilty.verdict}: {guilty.plane} {guilty.version}, {guilty.reason}", "red"))
    return told


def _table(rings: "tuple[RingStatus, ...]", *, reached: str, wide: bool) -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1), header_style="bold")
    table.add_column("", no_wrap=True, width=1)
    table.add_column("ring", no_wrap=True)
    table.add_column("", no_wrap=True)
    titles = ("confirmed", "changing", "failed", "offline", *(("assigned", "started") if wide else ()))
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("health", no_wrap=True)
    for ring in rings:
        cells: list[int] = [ring.in_flight, ring.failed, ring.offline]
        if wide:
            cells += [ring.assigned, ring.started]
        table.add_row(
            "▸" if ring.name == reached else "",
            ring.name,
            _bar(ring),
            f"{ring.confirmed}/{ring.target}",
            *(Text(str(number), style="red" if index == 1 and number else "") for index, number in enumerate(cells)),
            "passed" if ring.passed else str(ring.verdict or "-"),
        )
    return table


def _bar(ring: "RingStatus") -> "RenderableType":
    """How far a ring is filled: confirmed, changing, failed, and the rest."""
    from rich.text import Text

    whole, left = max(ring.target, 1), BAR_CELLS
    marks = (("✗", ring.failed, "red"), ("▒", ring.in_flight, "yellow"), ("█", ring.confirmed, "green"))
    bar = Text()
    for mark, number, style in marks:
        # What there is at all is seen, however large the ring; so what is bad gets its room first.
        cells = min(left, max(1, round(number / whole * BAR_CELLS))) if number else 0
        bar = Text(mark * cells, style=style).append_text(bar)
        left -= cells
    return bar.append("·" * left, style="dim")


def _is_unwell(plan: "ReleasePlan") -> bool:
    stalled = any(one.type == "Stalled" and one.status == "True" for one in plan.status.conditions)
    return stalled or plan.status.phase in ENDED_BADLY


def _colour(plan: "ReleasePlan") -> str:
    if _is_unwell(plan):
        return "bold red"
    return "bold green" if plan.status.phase == "Succeeded" else "bold"
