"""What another process needs to know about a node: where its files are."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "node.json"


@dataclass(frozen=True, slots=True)
class Record:
    """Where a node of a sandbox has its files; paths are text because they are kept as JSON."""

    name: str
    address: str
    kubeconfig: str
    manifests: str
    containerd_socket: str
    kubelet_root: str
    pod_logs: str
    pid_file: str
    link: str
    """The network device on this machine that leads to the node."""
    cgroup: str
    """The name of the control groups that its containers are in."""

    def save(self, data: Path) -> None:
        """Write it beside what the node stores."""
        (data / FILE).write_text(json.dumps(asdict(self)), encoding="utf-8")


def records(directory: Path) -> tuple[Record, ...]:
    """The nodes of the sandbox that has its files in `directory`, by name."""
    files = sorted((directory / "data" / "nodes").glob(f"*/{FILE}"))
    return tuple(Record(**json.loads(file.read_bytes())) for file in files)
