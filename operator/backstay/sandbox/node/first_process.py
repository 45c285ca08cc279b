"""The first process of a node: makes the node's world, then waits for whatever else ends there.

It runs in fresh namespaces for mounts, processes and the network, as process 1. When it ends, the kernel ends every
process that runs beside it, and with them go their mounts and networks: nothing of a node has to be taken down.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
from ipaddress import IPv4Interface
from pathlib import Path

from backstay.sandbox.service_network import API_SERVICE

CABLE = "eth0"
BRIDGE = "pods"

# Programs below write here by names that are built into them: shims' sockets, networks' records, logs' links.
OWN_DIRECTORIES = ("/run", "/var/lib", "/var/log")

# A kubelet sets these for the whole machine unless it finds what it wants.
# Source: https://github.com/kubernetes/kubernetes/blob/v1.35.4/pkg/util/sysctl/sysctl.go
WANTED_SETTINGS = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}


def make_mounts() -> None:
    """Give the node its own view of processes, its own directories, and the settings that a kubelet wants."""
    _run("mount", "-t", "proc", "proc", "/proc")
    # A kubelet wants mounts below it to reach containers; this shares them inside the node alone.
    _run("mount", "--make-rshared", "/")
    for directory in OWN_DIRECTORIES:
        _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", directory)
    for directory in ("/run/netns", "/run/settings", "/run/lock"):
        Path(directory).mkdir()
    for name, value in WANTED_SETTINGS.items():
        shown = Path("/run/settings") / name.replace("/", ".")
        shown.write_text(f"{value}\n", encoding="ascii")
        if Path("/proc/sys", name).exists():
            _run("mount", "--bind", str(shown), f"/proc/sys/{name}")


def make_network(address: IPv4Interface) -> None:
    """Make the bridge that Pods join, and put the cable's end on it."""
    _run("ip", "link", "set", "lo", "up")
    # Here, and not only at the end of a route, so that nothing has to rewrite addresses.
    _run("ip", "address", "add", f"{API_SERVICE}/32", "dev", "lo")
    _run("ip", "link", "add", BRIDGE, "type", "bridge")
    _run("ip", "address", "add", str(address), "dev", BRIDGE)
    _run("ip", "link", "set", CABLE, "master", BRIDGE)
    for device in (CABLE, BRIDGE):
        _run("ip", "link", "set", device, "up")


def wait_for_orphans() -> None:
    """Wait for ever for processes whose parent has ended, so that none stays a zombie."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            pass
        signal.sigwait({signal.SIGCHLD})


def main() -> None:
    """Make the world in step with `machine`, which speaks on stdin and listens on stdout."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("address", type=IPv4Interface)
    options = parser.parse_args()
    # Asked of the machine's /proc, which is not replaced yet: this is our number outside.
    outside = Path("/proc/self").readlink()
    socket.sethostname(options.name)
    make_mounts()
    _say(str(outside))
    if not sys.stdin.readline():
        return
    make_network(options.address)
    _say("ready")
    wait_for_orphans()


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)


if __name__ == "__main__":
    main()
