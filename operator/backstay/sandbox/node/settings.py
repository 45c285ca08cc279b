"""The command lines and configuration of what runs on one node."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backstay.sandbox.certificates import KeyPair
from backstay.sandbox.components import Component
from backstay.sandbox.endpoint import Endpoint
from backstay.sandbox.node.first_process import BRIDGE
from backstay.sandbox.node.network import Network
from backstay.sandbox.service_network import API_SERVICE

METRICS_PORT = 1338
HEALTH_PORT = 10_248
KUBELET_PORT = 10_250
NETWORK_PLUGINS = Path("/usr/lib/cni")


@dataclass(frozen=True, slots=True)
class NodePlaces:
    """The directories of one node."""

    directory: Path
    """What a person may want to read or write."""
    data: Path
    """What containerd and the kubelet store."""

    @classmethod
    def create(cls, directory: Path, data: Path) -> "NodePlaces":
        """Make the directories of a new node."""
        places = cls(directory, data)
        for made in (places.manifests, places.pod_logs, places.kubelet_root, data / "network"):
            made.mkdir(mode=0o700, parents=True)
        return places

    @property
    def manifests(self) -> Path:
        """The kubelet runs every Pod whose manifest is here."""
        return self.directory / "manifests"

    @property
    def kubeconfig(self) -> Path:
        """The node's own, as the kubelet uses it."""
        return self.directory / "kubeconfig"

    @property
    def pod_logs(self) -> Path:
        """What containers write: `NAMESPACE_POD_UID/CONTAINER/N.log`."""
        return self.directory / "pods"

    @property
    def kubelet_root(self) -> Path:
        """Where the kubelet keeps its files."""
        return self.data / "kubelet"

    @property
    def containerd_socket(self) -> Path:
        """Where containerd answers."""
        return self.data / "containerd.sock"

    @property
    def pid_file(self) -> Path:
        """The number of the node's first process, as this machine counts."""
        return self.data / "pid"


def machine(
    name: str, places: NodePlaces, network: Network, cgroup: str, api: int, registry: int, *others: int
) -> Component:
    """What holds the node's namespaces; ready once the sandbox's registry answers inside."""
    command = (
        sys.executable,
        "-m",
        "backstay.sandbox.node.machine",
        name,
        f"--network={network.subnet}",
        f"--cgroup={cgroup}",
        f"--pid-file={places.pid_file}",
        f"--api={api}",
        *(f"--port={port}" for port in (api, registry, *others)),
    )
    return Component(f"{name}-machine", command, Endpoint(f"http://{network.node}:{registry}", "/v2/"))


def containerd(name: str, places: NodePlaces, network: Network, pause_image: str) -> Component:
    """What runs the node's containers."""
    _write_json(places.data / "network" / "pods.conflist", _pod_network(places, network))
    settings = places.data / "containerd.toml"
    settings.write_text(_containerd_settings(places, network, pause_image), encoding="utf-8")
    command = (*_inside(places), "containerd", f"--config={settings}")
    return Component(f"{name}-containerd", command, Endpoint(f"http://{network.node}:{METRICS_PORT}", "/v1/metrics"))


def kubelet(
    binaries: Path, name: str, places: NodePlaces, network: Network, cgroup: str, ca: Path, server: KeyPair
) -> Component:
    """What makes a node of it; `server` is the certificate that it shows the API server."""
    settings = places.data / "kubelet.json"
    _write_json(settings, _kubelet_settings(places, network, cgroup, ca, server))
    command = (
        *_inside(places),
        str(binaries / "kubelet"),
        f"--config={settings}",
        f"--kubeconfig={places.kubeconfig}",
        f"--root-dir={places.kubelet_root}",
        f"--hostname-override={name}",
        f"--node-ip={network.node}",
    )
    return Component(f"{name}-kubelet", command, Endpoint(f"http://{network.node}:{HEALTH_PORT}", "/healthz"))


def overlay_works(directory: Path) -> bool:
    """Whether layers of images can be laid over each other in `directory`; not everywhere, as inside containers."""
    parts = {name: directory / "overlay" / name for name in ("lowerdir", "upperdir", "workdir", "merged")}
    for part in parts.values():
        part.mkdir(parents=True, exist_ok=True)
    options = ",".join(f"{name}={path}" for name, path in parts.items() if name != "merged")
    # In namespaces of its own, so that nothing stays mounted.
    mount = ("unshare", "--mount", "mount", "-t", "overlay", "-o", options, "overlay", str(parts["merged"]))
    return subprocess.run(mount, check=False, capture_output=True, stdin=subprocess.DEVNULL).returncode == 0


def _inside(places: NodePlaces) -> tuple[str, ...]:
    return (sys.executable, "-m", "backstay.sandbox.node.enter", str(places.pid_file))


def _pod_network(places: NodePlaces, network: Network) -> dict[str, Any]:
    """The network of Pods: on the node's bridge, with no way further but to the API server's Service.

    Source: https://github.com/containernetworking/cni/blob/spec-v1.0.0/SPEC.md
    """
    first, last = network.pods
    addresses = {"subnet": str(network.subnet), "rangeStart": str(first), "rangeEnd": str(last)}
    routes = [{"dst": f"{API_SERVICE}/32", "gw": str(network.node)}]
    ipam = {"type": "host-local", "ranges": [[addresses]], "routes": routes, "dataDir": str(places.data / "addresses")}
    bridge = {"type": "bridge", "bridge": BRIDGE, "ipam": ipam}
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]}


def _containerd_settings(places: NodePlaces, network: Network, pause_image: str) -> str:
    quoted = json.dumps
    snapshotter = "overlayfs" if overlay_works(places.data) else "native"
    return f"""\
version = 2
root = {quoted(str(places.data / "containerd"))}
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = {quoted(str(places.containerd_socket))}

[metrics]
  address = "{network.node}:{METRICS_PORT}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {quoted(pause_image)}
  # Processes may not be shielded from the killer of processes where root lacks the right to.
  restrict_oom_score_adj = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {quoted(str(NETWORK_PLUGINS))}
    conf_dir = {quoted(str(places.data / "network"))}

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


def _kubelet_settings(places: NodePlaces, network: Network, cgroup: str, ca: Path, server: KeyPair) -> dict[str, Any]:
    """Only what differs from a kubelet's defaults.

    Source: https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/
    """
    names = places.data / "resolv.conf"
    # Pods reach neither the world nor a cluster's name server.
    names.write_text("", encoding="ascii")
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": str(network.node),
        "port": KUBELET_PORT,
        "healthzBindAddress": str(network.node),
        "healthzPort": HEALTH_PORT,
        "tlsCertFile": str(server.certificate),
        "tlsPrivateKeyFile": str(server.key),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(ca)},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{places.containerd_socket}",
        "staticPodPath": str(places.manifests),
        "podLogsDir": str(places.pod_logs),
        "volumePluginDir": str(places.data / "volume-plugins"),
        "resolvConf": str(names),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": False,
        "nodeStatusUpdateFrequency": "2s",
        "nodeLeaseDurationSeconds": 10,
        "serializeImagePulls": False,
        # What the node stores lies beside everybody else's files: how full that is says nothing about the node.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": dict.fromkeys(("nodefs.available", "nodefs.inodesFree", "imagefs.available"), "0%"),
    }


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2), encoding="utf-8")
