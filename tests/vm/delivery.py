"""What the administrator of a machine puts on its partition of data."""

from typing import Any

import yaml

from backstay.sandbox import Sandbox
from backstay.sandbox.components import kubeconfig
from tests.cluster.test_agent import DEVICE
from tests.contracts.rauc_node import Signer
from tests.vm.machine import Machine

NODE = "machine.example"


async def deliver(machine: Machine, sandbox: Sandbox, namespace: str, signer: Signer) -> None:
    """Put on the partition of data what the administrator does, and start the agent as a boot does."""
    user = sandbox._credentials.authority.issue(
        f"machine-{namespace}", f"system:node:{NODE}", organizations=["system:nodes"]
    )
    document: Any = kubeconfig(sandbox.api_url, sandbox._credentials.authority.certificate, user)
    document["users"][0]["user"] = {"client-certificate": "machine.crt", "client-key": "machine.key"}
    document["clusters"][0]["cluster"].pop("certificate-authority-data", None)
    document["clusters"][0]["cluster"]["certificate-authority"] = "ca.crt"
    ports = (sandbox.api_url.rpartition(":")[2], sandbox.registry.rpartition(":")[2])
    files = {
        "kubeconfig": yaml.safe_dump(document).encode(),
        "ca.crt": sandbox._credentials.authority.certificate.read_bytes(),
        "machine.crt": user.certificate.read_bytes(),
        "machine.key": user.key.read_bytes(),
        "keyring.pem": signer.certificate.read_bytes(),
        "ports": "".join(f"{port}\n" for port in ports).encode(),
        "device": f"{namespace}/{DEVICE}\n".encode(),
    }
    for name, data in files.items():
        await machine.write(f"/data/etc/{name}", data)
    await machine.run("systemctl restart network-of-test; systemctl start --no-block backstay-agent")
