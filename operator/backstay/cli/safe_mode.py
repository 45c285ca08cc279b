"""`backstay safe-mode`: lets a node keep only its agent and its connection."""

import asyncio
from typing import Annotated

import typer

from backstay.cli import names
from backstay.cli.caller import (
    Caller,
    DryRun,
    DryRunOption,
    KubeconfigOption,
    NamespaceOption,
    YesOption,
    agreed,
)
from backstay.cli.program import program


def safe_mode(
    device: Annotated[str, typer.Argument(help="Name of the EdgeDevice of a node.", autocompletion=names.nodes)],
    off: Annotated[
        bool, typer.Option("--off", help="Back to normal, where nothing else keeps it in safe mode.")
    ] = False,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    dry_run: DryRunOption = DryRun.NONE,
    yes: YesOption = False,
) -> None:
    """Stop a node's workload, and let nothing begin on it; no version is lost.

    It needs the verb `recover` on edgedevices. Asks first, because the node serves nothing until it is back.
    """
    asyncio.run(_set(device, Caller(namespace, kubeconfig, dry_run), off=off, yes=yes))


async def _set(device: str, caller: Caller, *, off: bool, yes: bool) -> None:
    from backstay.adapters.kube.client import EDGE_DEVICES
    from backstay.errors import Refused

    mode = "Normal" if off else "Safe"
    async with caller.connected() as (kube, namespace):
        found = await kube.get(EDGE_DEVICES, device, namespace)
        if not found["spec"].get("node"):
            raise Refused(f"{device} is behind a gateway: only a node is ordered into safe mode")
        if not (off or yes or caller.only_tries):
            agreed(f"Stop what runs on {device} (node {found['spec']['node']})?")
        body = {"metadata": {"uid": found["metadata"]["uid"]}, "spec": {"mode": mode}}
        await kube.merge_patch(EDGE_DEVICES, device, body, namespace)
    if caller.only_tries:
        print(f"spec.mode of {device} could be {mode} (server dry run); nothing was changed")
    elif off:
        print(f"{device} is ordered back to normal; `{program()} recover` also ends a safe mode after failed starts")
    else:
        print(f"{device} is ordered into safe mode; `{program()} safe-mode {device} -n {namespace} --off` ends it")
