"""`backstay recover`: brings one node back, for the person on call."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from backstay.cli import names
from backstay.cli.caller import (
    Caller,
    DryRun,
    DryRunOption,
    KubeconfigOption,
    NamespaceOption,
    PatienceOption,
    YesOption,
    agreed,
)

if TYPE_CHECKING:
    from backstay.adapters.kube.client import KubeClient

Json = dict[str, Any]

LOOK_SECONDS: Final = 0.5


def recover(
    device: Annotated[str, typer.Argument(help="Name of the EdgeDevice of a node.", autocompletion=names.nodes)],
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    dry_run: DryRunOption = DryRun.NONE,
    yes: YesOption = False,
    timeout: PatienceOption = 30.0,
) -> None:
    """Put a node back to normal: out of safe mode, what failed on it forgotten, and what is on trial given up.

    It needs the verb `recover` on edgedevices. A node that is away does it when it is back.
    """
    asyncio.run(_recover(device, Caller(namespace, kubeconfig, dry_run), yes=yes, patience=timeout))


async def _recover(device: str, caller: Caller, *, yes: bool, patience: float) -> None:
    from backstay.adapters.kube.client import EDGE_DEVICES
    from backstay.errors import Refused

    async with caller.connected() as (kube, namespace):
        raw = await kube.get(EDGE_DEVICES, device, namespace)
        if not raw["spec"].get("node"):
            raise Refused(
                f"{device} is behind gateway {raw['spec'].get('gateway')}: it goes back by itself, and only a node "
                "recovers by order"
            )
        for line in (*_standing(raw), *_intent(raw)):
            print(line)
        if not (yes or caller.only_tries):
            agreed(f"Recover {device}?")
        # Not by resourceVersion: a node in trouble writes its status while a person reads it.
        now = await kube.get(EDGE_DEVICES, device, namespace)
        if (now["metadata"]["uid"], _asked(now)) != (raw["metadata"]["uid"], _asked(raw)):
            raise Refused(f"somebody else has changed {device} meanwhile; look again")
        number = _asked(raw)[0] + 1
        body = {"metadata": {"uid": raw["metadata"]["uid"]}, "spec": {"mode": "Normal", "recover": number}}
        await kube.merge_patch(EDGE_DEVICES, device, body, namespace)
        if caller.only_tries:
            print("it would be let pass (server dry run); nothing was changed")
            return
        print(f"asked (recover {number})")
        if patience > 0:
            await _answer(kube, device, namespace, number, patience)


async def _answer(kube: "KubeClient", device: str, namespace: str, number: int, seconds: float) -> None:
    from backstay.adapters.kube.client import EDGE_DEVICES

    try:
        async with asyncio.timeout(seconds):
            raw = await kube.get(EDGE_DEVICES, device, namespace)
            while int((raw.get("status") or {}).get("recovered") or 0) < number:
                await asyncio.sleep(LOOK_SECONDS)
                raw = await kube.get(EDGE_DEVICES, device, namespace)
    except TimeoutError:
        print(f"the node has not answered within {seconds:g} s; it does so when its agent reaches the API server")
        return
    print("the node has done it")
    for line in _standing(raw):
        print(line)


def _asked(raw: Json) -> tuple[int, str]:
    """What people have asked of the device so far."""
    return int(raw["spec"].get("recover") or 0), str(raw["spec"].get("mode") or "Normal")


def _standing(raw: Json) -> list[str]:
    """How the device stands, by its own word."""
    status = raw.get("status") or {}
    ready = next((one for one in status.get("conditions") or () if one["type"] == "Ready"), None)
    said = "the device has not said anything yet" if ready is None else f"{ready['reason']}: {ready['message']}"
    lines = [f"{raw['metadata']['name']} ({raw['spec'].get('node')}): {said}"]
    for plane, found in sorted((status.get("planes") or {}).items()):
        reason = f" ({found['reason']})" if found.get("reason") else ""
        back = f", keeps {found.get('fallbackVersion') or 'an unnamed version'}" if found.get("fallback") else ""
        runs = found.get("version") or ("an unnamed version" if found.get("running") else "nothing")
        lines.append(f"  {plane}: runs {runs}{back}; step {found.get('step', 0)} {found.get('state', 'Idle')}{reason}")
    return lines


def _intent(raw: Json) -> list[str]:
    """What recovering comes to, on this device."""
    ordered = raw["spec"].get("mode") == "Safe"
    return [
        "this will:",
        f"  - set spec.mode to Normal{' (it is Safe)' if ordered else ''}, and end a safe mode after failed starts",
        "  - forget which versions failed on this device, so that they are tried again when they are ordered",
        "  - give up a change that is on trial now: the device goes back to what ran before",
    ]
