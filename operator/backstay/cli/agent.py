"""`backstay agent`: change a Linux node, and undo what does not prove itself."""

import asyncio
import logging
import shlex
import signal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from backstay.agent.assembly import Firmware

app = typer.Typer(help="Run the agent of a Linux node, and read its journal.", no_args_is_help=True)

DATA = Path("/var/lib/backstay")
MANIFESTS = Path("/var/lib/rancher/k3s/agent/pod-manifests")
KUBECONFIG = Path("/var/lib/rancher/k3s/agent/kubelet.kubeconfig")
COMMANDER = Path("/etc/backstay/device")
SAFE_MODE = Path("/etc/backstay/safe-mode")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class FirmwareKind(StrEnum):
    """What `--firmware` takes."""

    NONE = "none"
    POD = "pod"
    PROGRAM = "program"
    SYSTEM = "system"


Data = Annotated[Path, typer.Option(help="Where the agent keeps its journal, artifacts, models and configs.")]
SafeModeFile = Annotated[
    Path, typer.Option(help="While this file is there, the node is in safe mode; only root may write where it is.")
]


@app.callback()
def agent() -> None:
    """Run the agent of a Linux node, and read its journal."""


@app.command()
def run(
    commander: Annotated[
        Path,
        typer.Option(help="Root-owned file with NAMESPACE/NAME of the one EdgeDevice that commands this node."),
    ] = COMMANDER,
    node: Annotated[str | None, typer.Option(help="The node's own name. Absent: as its certificate says.")] = None,
    kubeconfig: Annotated[
        Path, typer.Option(help="The kubelet's kubeconfig, whose identity the agent has.")
    ] = KUBECONFIG,
    server: Annotated[
        str | None,
        typer.Option(help="URL of the API server. Absent: the kubeconfig's, on K3s a local balancer."),
    ] = None,
    firmware: Annotated[
        FirmwareKind,
        typer.Option(help="What the node's firmware is: a static Pod, a program, the whole system, or none."),
    ] = FirmwareKind.NONE,
    manifests: Annotated[
        Path, typer.Option(help="With --firmware pod: the kubelet's directory of static Pods.")
    ] = MANIFESTS,
    pod: Annotated[
        str | None, typer.Option(help="With --firmware pod: the name of the one Pod that is changed.")
    ] = None,
    kubelet: Annotated[
        str,
        typer.Option(
            help="With --firmware pod: where the kubelet says how it is; while it is not well, nothing begins."
        ),
    ] = "http://127.0.0.1:10248/healthz",
    ctr: Annotated[
        str,
        typer.Option(
            help="With --firmware pod: containerd's client, to keep images of the fallback; empty: nothing keeps them."
        ),
    ] = "k3s ctr --namespace=k8s.io",
    data: Data = DATA,
    keys: Annotated[Path | None, typer.Option(help="Directory of public keys that must have signed artifacts.")] = None,
    headroom: Annotated[
        str,
        typer.Option(help="Disk to keep free, by deleting versions that are only retained; of a small disk 5 %."),
    ] = "512Mi",
    safe_mode_file: SafeModeFile = SAFE_MODE,
    inference_url: Annotated[
        str, typer.Option(help="Where the inference server speaks the Open Inference Protocol v2.")
    ] = "http://127.0.0.1:8080",
    lease_seconds: Annotated[
        int,
        typer.Option(
            min=3, max=86400, help="Silent for so long, the node counts as away; it is heard three times as often."
        ),
    ] = 120,
) -> None:
    """Follow the node's EdgeDevice until ended by SIGTERM or Ctrl-C."""
    from backstay.adapters.oci.public_keys import load_keys
    from backstay.agent.assembly import Settings
    from backstay.agent.commander import read_commander
    from backstay.agent.service import serve

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = Settings(
        commander=read_commander(commander),
        node=node or "",
        data=data,
        firmware=_firmware(firmware, manifests, pod, kubelet, ctr),
        boot=BOOT_ID.read_text(encoding="ascii").strip(),
        keys={} if keys is None else load_keys(keys),
        headroom_bytes=_bytes(headroom),
        safe_mode_file=safe_mode_file,
        inference_url=inference_url,
        lease_seconds=lease_seconds,
    )

    async def until_ended() -> None:
        serving = asyncio.create_task(serve(settings, kubeconfig, server, lambda line: print(line, flush=True)))
        for ending in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(ending, serving.cancel)
        try:
            await serving
        except asyncio.CancelledError:
            logging.getLogger(__name__).info("the agent ended")

    asyncio.run(until_ended())


@app.command()
def journal(data: Data = DATA, safe_mode_file: SafeModeFile = SAFE_MODE) -> None:
    """Show what has happened on this node, the oldest first, and where it and each of its planes stand."""
    from backstay.agent.journal import Journal
    from backstay.agent.reading import lines

    for line in lines(Journal(data / "state"), safe_mode_file):
        print(line)


def _bytes(quantity: str) -> int:
    from backstay.core.quantities import bytes_of

    try:
        return bytes_of(quantity)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--headroom") from error


def _firmware(kind: FirmwareKind, manifests: Path, pod: str | None, kubelet: str, ctr: str) -> "Firmware | None":
    from backstay.agent.assembly import Program, StaticPod, SystemImage

    match kind:
        case FirmwareKind.NONE:
            return None
        case FirmwareKind.PROGRAM:
            return Program()
        case FirmwareKind.SYSTEM:
            return SystemImage()
        case FirmwareKind.POD if pod:
            return StaticPod(manifests, pod, kubelet, tuple(shlex.split(ctr)))
        case _:
            raise typer.BadParameter("--firmware pod needs the name of the Pod", param_hint="--pod")
