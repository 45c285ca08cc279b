from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from backstay.errors import Unavailable
from backstay.sandbox.node import network
from backstay.sandbox.node.network import RANGE, Network


def test_network_has_an_address_for_each_end_and_others_for_pods():
    chosen = Network(IPv4Network("198.19.1.0/24"))

    assert chosen.link == "bsnode257"
    assert (chosen.host, chosen.node) == (IPv4Address("198.19.1.1"), IPv4Address("198.19.1.2"))
    assert chosen.pods == (IPv4Address("198.19.1.10"), IPv4Address("198.19.1.250"))
    assert chosen.with_length(chosen.node) == "198.19.1.2/24"


def test_link_has_a_name_that_the_kernel_takes_when_the_network_is_the_last():
    last = Network(list(RANGE.subnets(new_prefix=24))[-1])

    assert last.link == "bsnode511"
    assert len(last.link) <= 15


def test_free_network_is_one_whose_link_nobody_has(tmp_path: Path):
    for index in range(512):
        if index != 300:
            (tmp_path / f"bsnode{index}").touch()

    assert _with_patience(tmp_path).link == "bsnode300"


def test_network_is_unavailable_when_all_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for index in range(512):
        (tmp_path / f"bsnode{index}").touch()

    with pytest.raises(Unavailable, match="end some sandboxes"):
        Network.free(tmp_path)


def _with_patience(devices: Path) -> Network:
    for _ in range(100):
        try:
            return Network.free(devices)
        except Unavailable:
            continue
    raise AssertionError(network.ATTEMPTS)
