"""`backstay history`: how the last revisions of a plan ended."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backstay.cli import names
from backstay.cli.caller import Caller, KubeconfigOption, NamespaceOption
from backstay.cli.output import Output, OutputOption, show
from backstay.core.planes import Plane

if TYPE_CHECKING:
    from backstay.api.releaseplan import ReleasePlan


def history(
    plan: Annotated[str, typer.Argument(help="Name of the ReleasePlan.", autocompletion=names.plans)],
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show how the last revisions of a plan ended, and the one that runs; the latest first. Nothing is changed."""
    found = asyncio.run(_read(Caller(namespace, kubeconfig), plan))
    show(output, lambda: _document(found), lambda: _print(found), [f"releaseplan.backstay.dev/{plan}"])


async def _read(caller: Caller, name: str) -> "ReleasePlan":
    from backstay.adapters.kube.client import RELEASE_PLANS
    from backstay.api.releaseplan import ReleasePlan

    async with caller.connected() as (kube, namespace):
        return ReleasePlan.from_document(await kube.get(RELEASE_PLANS, name, namespace))


def _document(plan: "ReleasePlan") -> dict[str, Any]:
    status = plan.status.to_document()
    present = {key: status[key] for key in ("revision", "phase", "phaseSince") if key in status}
    return {"plan": plan.metadata.name, "present": present, "history": status.get("history", [])}


def _print(plan: "ReleasePlan") -> None:
    from rich.table import Table

    from backstay.cli.paper import paper

    table = Table(box=None, padding=(0, 2), header_style="bold")
    for title in ("revision", "phase", "ended", "firmware", "model", "config"):
        table.add_column(title, no_wrap=True)
    table.add_column("why")
    if plan.status.revision:
        wanted = {plane: one.version for plane, one in plan.spec.versions.by_plane().items()}
        versions = (wanted.get(plane, "-") for plane in Plane)
        table.add_row(plan.status.revision, str(plan.status.phase or "Pending"), "-", *versions, "")
    for past in plan.status.history:
        shipped = past.versions
        versions = (version or "-" for version in (shipped.firmware, shipped.model, shipped.config))
        ended = past.ended.strftime("%Y-%m-%d %H:%M:%SZ")
        table.add_row(past.revision, str(past.phase), ended, *versions, past.reason)
    paper().print(table)
