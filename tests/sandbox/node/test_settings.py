import json
import tomllib
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from backstay.sandbox.certificates import KeyPair
from backstay.sandbox.node import settings
from backstay.sandbox.node.network import Network
from backstay.sandbox.node.settings import NodePlaces

NETWORK = Network(IPv4Network("198.18.3.0/24"))


@pytest.fixture
def places(tmp_path: Path) -> NodePlaces:
    return NodePlaces.create(tmp_path / "node", tmp_path / "data")


def test_containerd_is_configured_with_places_of_its_own(places: NodePlaces):
    component = settings.containerd("node-1", places, NETWORK, "127.0.0.1:1/sandbox/pause@sha256:0")

    document = tomllib.loads((places.data / "containerd.toml").read_text())
    cri = document["plugins"]["io.containerd.grpc.v1.cri"]
    assert document["root"] == str(places.data / "containerd")
    assert document["grpc"]["address"] == str(places.containerd_socket)
    assert cri["restrict_oom_score_adj"] is True
    assert cri["sandbox_image"] == "127.0.0.1:1/sandbox/pause@sha256:0"
    assert cri["containerd"]["snapshotter"] in {"overlayfs", "native"}
    assert component.name == "node-1-containerd"


def test_pods_get_addresses_that_are_neither_the_nodes_nor_the_machines(places: NodePlaces):
    settings.containerd("node-1", places, NETWORK, "pause")

    document = json.loads((places.data / "network" / "pods.conflist").read_text())
    (plugin,) = document["plugins"]
    ((addresses,),) = plugin["ipam"]["ranges"]
    assert addresses == {"subnet": "198.18.3.0/24", "rangeStart": "198.18.3.10", "rangeEnd": "198.18.3.250"}
    assert Path(plugin["ipam"]["dataDir"]).is_relative_to(places.data)


def test_pods_have_a_way_to_the_api_server_and_to_nothing_else_beyond_their_node(places: NodePlaces):
    settings.containerd("node-1", places, NETWORK, "pause")

    document = json.loads((places.data / "network" / "pods.conflist").read_text())
    assert document["plugins"][0]["ipam"]["routes"] == [{"dst": "10.96.0.1/32", "gw": "198.18.3.2"}]


def test_kubelet_listens_on_the_nodes_address_alone(places: NodePlaces):
    pair = KeyPair(Path("/c/server.crt"), Path("/c/server.key"))

    component = settings.kubelet(Path("/b"), "node-1", places, NETWORK, "backstay-node-0", Path("/c/ca.crt"), pair)

    document = json.loads((places.data / "kubelet.json").read_text())
    assert {document["address"], document["healthzBindAddress"]} == {"198.18.3.2"}
    assert document["authentication"]["anonymous"] == {"enabled": False}
    assert document["cgroupRoot"] == "/backstay-node-0"
    assert document["failCgroupV1"] is False
    assert document["staticPodPath"] == str(places.manifests)
    assert component.endpoint.url == "http://198.18.3.2:10248"
    assert "--hostname-override=node-1" in component.command


def test_what_a_node_keeps_is_for_this_user_alone(places: NodePlaces):
    for made in (places.manifests, places.pod_logs, places.kubelet_root):
        assert made.stat().st_mode & 0o077 == 0
