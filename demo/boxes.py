"""The boxes: Linux nodes with a real kubelet, a Pod that serves the digit model, and Backstay's agent beside them."""

import json
import sys
import sysconfig
from asyncio import to_thread
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from backstay.agent.journal import Journal
from backstay.errors import Refused
from backstay.sandbox import Sandbox
from backstay.sandbox.image import Image, push_image
from backstay.sandbox.node.node import Node
from demo.digit_server import PORT
from demo.fleet import NAMESPACE
from demo.processes import Processes

NAMES: Final = ("box-1", "box-2")
LABELS: Final = {"app": "digit-box", "site": "assembly-line"}
MODELS: Final = "/models"
REPOSITORY: Final = Path(__file__).parent.parent

Json = dict[str, Any]
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Box:
    """One Linux node and what its agent keeps."""

    name: str
    node: Node
    data: Path

    @property
    def url(self) -> str:
        """Where its Pod answers."""
        return f"http://{self.node.address}:{PORT}"

    def told(self, words: str) -> str:
        """The last line of the agent's own journal that has these words in it; empty where there is none yet."""
        said = [str(entry["what"]) for entry in Journal(self.data / "state").history() if words in entry["what"]]
        return said[-1] if said else ""

    def in_use(self) -> str:
        """The version of the model that its disk has in use; empty where there is none."""
        try:
            release = json.loads((self.data / "model" / "current" / "current" / "release.json").read_bytes())
        except OSError:
            return ""
        return str(release["version"])


def document(name: str) -> Json:
    """The EdgeDevice."""
    return {
        "apiVersion": "backstay.dev/v1alpha1",
        "kind": "EdgeDevice",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": LABELS},
        "spec": {"class": "rk3566", "node": name},
    }


def roles(template: str) -> str:
    """What each box may do."""
    tenant = template.replace("TENANT", NAMESPACE)
    return "\n---\n".join(tenant.replace("DEVICE", name).replace("NODE", name) for name in NAMES)


async def add_boxes(sandbox: Sandbox, directory: Path, tell: Tell) -> tuple[Box, ...]:
    """Start the nodes with their Pods; none where this machine cannot have any, which is told."""
    try:
        nodes = [await sandbox.add_node(name) for name in NAMES]
    except Refused as error:
        tell(f"there are no Linux nodes here, so the last two acts are left out: {error}")
        return ()
    image = await push_image(sandbox.registry, "demo/digit-server:1", Image.busybox("/bin/busybox", "sleep", "inf"))
    boxes = []
    for node in nodes:
        box = Box(node.name, node, directory / "boxes" / node.name)
        await to_thread(_place_pod, box, image)
        boxes.append(box)
    return tuple(boxes)


def start_agents(boxes: tuple[Box, ...], processes: Processes) -> None:
    """Start Backstay's agent for each box, outside of the cluster and of what it changes."""
    for box in boxes:
        commander = box.data.with_suffix(".device")
        commander.write_text(f"{NAMESPACE}/{box.name}\n", encoding="ascii")
        processes.start(
            f"agent-{box.name}", "agent", "run", "--commander", str(commander), "--kubeconfig",
            str(box.node.kubeconfig), "--data", str(box.data), "--inference-url", box.url,
        )  # fmt: skip


def _place_pod(box: Box, image: str) -> None:
    """Put the Pod's manifest where the kubelet looks, whole."""
    models = box.data / "model"
    models.mkdir(parents=True)
    new = box.node.manifests.parent / "digits.new"
    new.write_text(json.dumps(_pod(image, models)), encoding="utf-8")
    new.replace(box.node.manifests / "digits.json")


def _pod(image: str, models: Path) -> Json:
    """A Pod that runs this machine's Python, which an image would have to be hundreds of megabytes for."""
    needed = [Path("/usr"), Path("/lib"), Path("/lib64"), Path(sys.base_prefix), Path(sys.prefix), REPOSITORY]
    mounted = [path for path in needed if path.exists() and not any(other in path.parents for other in needed)]
    places = {str(path): path for path in mounted} | {MODELS: models}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "digits", "namespace": "default"},
        "spec": {
            "hostNetwork": True,
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "server",
                    "image": image,
                    "command": [sys.executable, "-m", "demo.digit_server", MODELS],
                    "workingDir": str(REPOSITORY),
                    "env": [
                        {"name": "LD_LIBRARY_PATH", "value": str(sysconfig.get_config_var("LIBDIR"))},
                        {"name": "OPENBLAS_NUM_THREADS", "value": "1"},
                        {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"},
                    ],
                    "volumeMounts": [
                        {"name": f"v{number}", "mountPath": place, "readOnly": True}
                        for number, place in enumerate(places)
                    ],
                }
            ],
            "volumes": [
                {"name": f"v{number}", "hostPath": {"path": str(path)}} for number, path in enumerate(places.values())
            ],
        },
    }
