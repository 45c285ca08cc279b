"""`backstay sandbox`: a real Kubernetes and its neighbours on this machine."""

import asyncio
import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from backstay.errors import Refused
from backstay.sandbox.node.record import Record, records
from backstay.sandbox.state import State, default_directory

app = typer.Typer(no_args_is_help=True)

Directory = Annotated[
    Path, typer.Option("--directory", help="Where the sandbox keeps its files.", default_factory=default_directory)
]

WIDE = 1000


class Cluster(StrEnum):
    """Where the sandbox's Kubernetes comes from."""

    OWN = "own"
    KIND = "kind"


@app.callback()
def sandbox() -> None:
    """Run a real Kubernetes and its neighbours on this machine."""


@app.command()
def up(
    directory: Directory,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Use the cluster that this file names instead of starting one.")
    ] = None,
    cluster: Annotated[
        Cluster,
        typer.Option(help="Where the cluster comes from. kind needs Docker, and has not been tried with a real one."),
    ] = Cluster.OWN,
    node: Annotated[
        int, typer.Option("--node", count=True, help="Add a node that runs Pods; give it twice for two.")
    ] = 0,
    workloads: Annotated[
        bool, typer.Option("--workloads", help="Also make Pods of Deployments and StatefulSets, and place them.")
    ] = False,
) -> None:
    """Start a sandbox, and leave it running."""
    from backstay.sandbox import detached, kind
    from backstay.sandbox.progress import report_to_terminal

    if cluster is Cluster.KIND and kubeconfig is not None:
        raise Refused("--kubeconfig names a cluster that exists, and --cluster kind makes one: leave out one of them")
    foreign = "--kubeconfig" if kubeconfig is not None else "--cluster kind" if cluster is Cluster.KIND else None
    if node and foreign:
        raise Refused(f"nodes join only a cluster of the sandbox's own: leave out --node or {foreign}")
    if workloads and foreign:
        raise Refused(f"such a cluster makes Pods by itself: leave out --workloads or {foreign}")
    state = State.load(directory)
    if state is not None and state.alive():
        typer.echo(f"A sandbox is up already in {directory}; `backstay sandbox down` ends it.")
        return
    if cluster is Cluster.KIND:
        kubeconfig = kind.create(directory.absolute(), report_to_terminal)
    typer.echo("Starting the sandbox …", err=True)
    try:
        asyncio.run(detached.begin(directory.absolute(), kubeconfig, node, workloads=workloads))
    except BaseException:
        kind.delete(directory.absolute(), report_to_terminal)
        raise
    status(directory)
    typer.echo(f'\nTo use it: eval "$({_again("env", directory)})"\nTo end it: {_again("down", directory)}')


@app.command()
def status(directory: Directory) -> None:
    """Show each component, where it answers, and whether it is ready; status 1 if one is not."""
    from rich.console import Console
    from rich.table import Table

    from backstay.sandbox import detached

    found = asyncio.run(detached.conditions(detached.find(directory)))
    table = Table("component", "url", "ready", "pid", "log", box=None, pad_edge=False, header_style="bold")
    for condition in found:
        component = condition.component
        ready = "yes" if condition.ready else "no" if condition.running else "ended"
        pid = str(component.process.pid) if component.process is not None and condition.running else "-"
        table.add_row(component.name, component.endpoint.url, ready, pid, component.log)
    # Paths are there to be copied: a narrow terminal may break a line, but nothing may be cut.
    Console(width=WIDE).print(table)
    for record in records(directory):
        typer.echo(f"\n{record.name} at {record.address} runs the Pods whose manifests are in {record.manifests}")
        typer.echo(f"  its kubeconfig: {record.kubeconfig}\n  its containerd: {record.containerd_socket}")
    if not all(condition.ready for condition in found):
        raise typer.Exit(1)


@app.command()
def env(directory: Directory) -> None:
    """Print what a shell needs to use the sandbox, for `eval`."""
    from backstay.sandbox import detached

    state = detached.find(directory)
    variables = {
        "KUBECONFIG": state.kubeconfig,
        "BACKSTAY_PROMETHEUS": state.prometheus_url,
        "BACKSTAY_ALERTMANAGER": state.alertmanager_url,
        "BACKSTAY_REGISTRY": state.registry,
    }
    for record in records(directory):
        variables |= _variables_of(record)
    for name, value in variables.items():
        typer.echo(f"export {name}={shlex.quote(value)}")
    typer.echo(f'export PATH={shlex.quote(str(Path(state.kubectl).parent))}:"$PATH"')


@app.command()
def scrape(
    job: Annotated[str, typer.Argument(help="A name for what is scraped; it has one address.")],
    address: Annotated[str, typer.Argument(help="HOST:PORT that answers /metrics, such as a bridge.")],
    directory: Directory,
) -> None:
    """Let the sandbox's Prometheus scrape something from now on; it looks every five seconds for what is new."""
    from backstay.sandbox import detached

    detached.scrape(directory, job, address)


@app.command()
def down(directory: Directory) -> None:
    """End the sandbox; its logs stay."""
    from backstay.sandbox import detached, kind
    from backstay.sandbox.progress import report_to_terminal

    was_up = asyncio.run(detached.finish(directory))
    kind.delete(directory.absolute(), report_to_terminal)
    if was_up:
        typer.echo(f"The sandbox has ended; its logs are in {directory / 'logs'}.")
    else:
        typer.echo(f"No sandbox is up in {directory}.")


def _variables_of(record: Record) -> dict[str, str]:
    prefix = f"BACKSTAY_{record.name.upper().replace('-', '_')}"
    return {
        f"{prefix}_ADDRESS": record.address,
        f"{prefix}_KUBECONFIG": record.kubeconfig,
        f"{prefix}_MANIFESTS": record.manifests,
        f"{prefix}_CONTAINERD": record.containerd_socket,
        f"{prefix}_KUBELET": record.kubelet_root,
    }


def _again(command: str, directory: Path) -> str:
    """The command line that goes on with this sandbox."""
    where = "" if directory == default_directory() else f" --directory {shlex.quote(str(directory))}"
    return f"backstay sandbox {command}{where}"
