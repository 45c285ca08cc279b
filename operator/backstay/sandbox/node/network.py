"""The network of one node: a bridge inside it, with its Pods on it, and a cable to this machine.

    this machine  .1 ═══ veth ═══ bridge of the node  .2
                                  ├── veth ═══ Pod  .10
                                  └── veth ═══ Pod  .11 …

All are neighbours in one small network, so that nothing has to forward packets and no setting of the machine changes.
"""

import random
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from backstay.errors import Unavailable

# Set aside for tests of network devices, and so in use neither on the Internet nor in anybody's own network.
# Source: RFC 2544, appendix C.2.2
RANGE = IPv4Network("198.18.0.0/15")
LINK_PREFIX = "bsnode"
DEVICES = Path("/sys/class/net")
ATTEMPTS = 200


@dataclass(frozen=True, slots=True)
class Network:
    """The addresses of one node and its Pods."""

    subnet: IPv4Network

    @classmethod
    def free(cls, devices: Path = DEVICES) -> "Network":
        """Pick a network whose cable's name nobody uses; two that pick at the same moment may still meet.

        Raises `Unavailable` if there is none.
        """
        for _ in range(ATTEMPTS):
            # Not a secret: only spread, so that two sandboxes that start together rarely meet.
            index = random.randrange(RANGE.num_addresses // 256)  # noqa: S311
            network = cls(IPv4Network((int(RANGE.network_address) + index * 256, 24)))
            if not (devices / network.link).exists():
                return network
        msg = f"no free network in {RANGE} for another node: end some sandboxes, `ip link` shows their {LINK_PREFIX}…"
        raise Unavailable(msg)

    @property
    def link(self) -> str:
        """The name of the cable's end on this machine."""
        index = (int(self.subnet.network_address) - int(RANGE.network_address)) // 256
        return f"{LINK_PREFIX}{index}"

    @property
    def host(self) -> IPv4Address:
        """This machine's address."""
        return self.subnet.network_address + 1

    @property
    def node(self) -> IPv4Address:
        """The node's own address, and that of Pods in its network."""
        return self.subnet.network_address + 2

    @property
    def pods(self) -> tuple[IPv4Address, IPv4Address]:
        """The first and the last address for a Pod."""
        return self.subnet.network_address + 10, self.subnet.broadcast_address - 5

    def with_length(self, address: IPv4Address) -> str:
        """An address as `ip address add` takes it."""
        return f"{address}/{self.subnet.prefixlen}"
