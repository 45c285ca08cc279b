"""The identity of a node, from the kubeconfig of its kubelet: certificate files that the kubelet renews in place.

On K3s that is `/var/lib/rancher/k3s/agent/kubelet.kubeconfig`. Its server is K3s's own balancer on the node, which dies
with K3s; so whoever runs the agent names the servers themselves.

Source: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/, https://docs.k3s.io/architecture
"""

import ssl
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

from backstay.errors import Refused

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """Where the API server is, and the files by which this node speaks to it; an identity for `KubeClient`."""

    host: str
    ssl_ca_cert: str | None
    cert_file: str | None
    key_file: str | None
    verify_ssl: bool = True
    authority: str | None = None
    """Whom to trust, as PEM, where the kubeconfig holds it itself."""

    @classmethod
    def read(cls, kubeconfig: Path, server: str | None = None) -> Self:
        """Read the kubeconfig of a kubelet; `server` takes the place of the one that it names.

        Raises:
            Refused: it cannot be read, or does not name certificate files.
        """
        try:
            document = yaml.safe_load(kubeconfig.read_bytes())
            context = _named(document["contexts"], document["current-context"])["context"]
            cluster = _named(document["clusters"], context["cluster"])["cluster"]
            user = _named(document["users"], context["user"])["user"]
            certificate, key = (str(kubeconfig.parent / user[name]) for name in ("client-certificate", "client-key"))
            host, inline = server or str(cluster["server"]), cluster.get("certificate-authority-data")
            if inline is not None:
                return cls(host, None, certificate, key, authority=b64decode(inline, validate=True).decode("ascii"))
            return cls(host, str(kubeconfig.parent / cluster["certificate-authority"]), certificate, key)
        except OSError as error:
            raise Refused(f"the kubeconfig {kubeconfig} cannot be read: {error}; name the kubelet's own") from error
        except (yaml.YAMLError, KeyError, TypeError, ValueError, StopIteration) as error:
            raise Refused(
                f"the kubeconfig {kubeconfig} does not name a server and files of certificates, as a kubelet's does:"
                f" {error!r}"
            ) from error

    async def auth_settings(self) -> Mapping[str, Any]:
        """A certificate needs no header."""
        return {}

    def tls(self) -> ssl.SSLContext:
        """The node's certificate and whom it trusts; read it in again when `stamp` changes.

        Raises:
            Refused: the files cannot be read.
        """
        try:
            context = ssl.create_default_context(cafile=self.ssl_ca_cert, cadata=self.authority)
            self.renew(context)
        except (OSError, ssl.SSLError) as error:
            raise Refused(f"the node's certificates cannot be read: {error}; is the kubelet set up?") from error
        return context

    def renew(self, context: ssl.SSLContext) -> None:
        """Let new connections show the certificate that the files hold now."""
        if self.cert_file:
            context.load_cert_chain(self.cert_file, keyfile=self.key_file)

    def stamp(self) -> tuple[int, int]:
        """What differs once the kubelet has renewed its certificate; zeros while the files are away."""
        try:
            found = Path(self.cert_file or "").stat()
        except OSError:
            return 0, 0
        return found.st_mtime_ns, found.st_ino


def _named(entries: list[Json], name: str) -> Json:
    return next(entry for entry in entries if entry["name"] == name)
