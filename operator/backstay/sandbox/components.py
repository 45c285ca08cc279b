"""The command lines and configuration of everything that a sandbox runs."""

import base64
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from backstay.sandbox.certificates import Credentials, KeyPair
from backstay.sandbox.endpoint import Endpoint
from backstay.sandbox.places import Places
from backstay.sandbox.service_network import SERVICE_RANGE

SCRAPE_INTERVAL = "1s"
# How long Prometheus answers with a sample after the last one. The usual five minutes would let a device that has
# fallen silent look healthy for longer than a whole rollout takes here.
LOOKBACK = "10s"

CONTROLLERS = (
    "namespace-controller",
    "garbage-collector-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "root-ca-certificate-publisher-controller",
    "clusterrole-aggregation-controller",
    "validatingadmissionpolicy-status-controller",
    "node-lifecycle-controller",
)

# What makes Pods of Deployments and StatefulSets, gives them their disks, and counts who may be disrupted.
WORKLOAD_CONTROLLERS = (
    "deployment-controller",
    "replicaset-controller",
    "statefulset-controller",
    "persistentvolume-binder-controller",
    "disruption-controller",
)

CONTROLLER_MANAGER = "kube-controller-manager"
SCHEDULER = "kube-scheduler"

OUR_RESOURCES = ("edgedevices", "releaseplans", "holds", "devicegroups", "healthrules")


@dataclass(frozen=True, slots=True)
class Ports:
    """A free loopback port for each listener."""

    etcd: int
    etcd_peer: int
    api: int
    controller_manager: int
    scheduler: int
    prometheus: int
    alertmanager: int
    registry: int


@dataclass(frozen=True, slots=True)
class Component:
    """How one program is run, and where it answers."""

    name: str
    command: tuple[str, ...]
    endpoint: Endpoint


def etcd(places: Places, credentials: Credentials, ports: Ports) -> Component:
    """The store beneath the API server."""
    url, peer = (
        f"https://127.0.0.1:{ports.etcd}",
        f"https://127.0.0.1:{ports.etcd_peer}",
    )
    server, ca = credentials.etcd_server, credentials.etcd_ca
    command = (
        "etcd",
        "--name=sandbox",
        f"--data-dir={places.data / 'etcd'}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=sandbox={peer}",
        *(f"--{prefix}cert-file={server.certificate}" for prefix in ("", "peer-")),
        *(f"--{prefix}key-file={server.key}" for prefix in ("", "peer-")),
        *(f"--{prefix}trusted-ca-file={ca}" for prefix in ("", "peer-")),
        "--client-cert-auth",
        "--peer-client-cert-auth",
        # Nothing here outlives the machine, so nothing has to reach the disk.
        "--unsafe-no-fsync",
        "--logger=zap",
        "--log-outputs=stderr",
        "--log-level=warn",
    )
    client = credentials.etcd_client
    endpoint = Endpoint(url, "/health", str(ca), str(client.certificate), str(client.key))
    return Component("etcd", command, endpoint)


def api_server(
    binaries: Path,
    places: Places,
    credentials: Credentials,
    ports: Ports,
    *,
    audit: bool,
    bodies: bool = True,
) -> Component:
    """The Kubernetes API."""
    url = f"https://127.0.0.1:{ports.api}"
    pair, client = credentials.api_server, credentials.etcd_client
    command = (
        str(binaries / "kube-apiserver"),
        "--bind-address=127.0.0.1",
        f"--secure-port={ports.api}",
        # No node reaches this one by its Service, and a loopback address may not stand in an Endpoints object.
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        f"--etcd-servers=https://127.0.0.1:{ports.etcd}",
        f"--etcd-cafile={credentials.etcd_ca}",
        f"--etcd-certfile={client.certificate}",
        f"--etcd-keyfile={client.key}",
        f"--cert-dir={places.data / 'api-server'}",
        f"--tls-cert-file={pair.certificate}",
        f"--tls-private-key-file={pair.key}",
        f"--client-ca-file={credentials.ca}",
        f"--kubelet-certificate-authority={credentials.ca}",
        f"--kubelet-client-certificate={credentials.kubelet_client.certificate}",
        f"--kubelet-client-key={credentials.kubelet_client.key}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--authentication-config={_write_yaml(places, 'authentication.yaml', _authentication())}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={credentials.service_account_key}",
        f"--service-account-signing-key-file={credentials.service_account_key}",
        "--profiling=false",
        *(_audit_flags(places, bodies=bodies) if audit else ()),
    )
    return Component("kube-apiserver", command, Endpoint(url, "/readyz", str(credentials.ca)))


def controller_manager(
    binaries: Path,
    places: Places,
    credentials: Credentials,
    ports: Ports,
    kubeconfig: Path,
    *,
    workloads: bool = False,
) -> Component:
    """The few controllers that are needed here; only with `workloads` do some of them make Pods."""
    pair = credentials.controller_manager
    command = (
        str(binaries / CONTROLLER_MANAGER),
        f"--kubeconfig={kubeconfig}",
        f"--controllers={','.join(CONTROLLERS + (WORKLOAD_CONTROLLERS if workloads else ()))}",
        "--use-service-account-credentials",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--secure-port={ports.controller_manager}",
        f"--cert-dir={places.data / 'api-server'}",
        f"--tls-cert-file={pair.certificate}",
        f"--tls-private-key-file={pair.key}",
        f"--root-ca-file={credentials.ca}",
        f"--service-account-private-key-file={credentials.service_account_key}",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        "--profiling=false",
    )
    url = f"https://127.0.0.1:{ports.controller_manager}"
    return Component(CONTROLLER_MANAGER, command, Endpoint(url, "/healthz", str(credentials.ca)))


def scheduler(binaries: Path, places: Places, credentials: Credentials, ports: Ports, kubeconfig: Path) -> Component:
    """What places Pods that name no node."""
    pair = credentials.scheduler
    command = (
        str(binaries / SCHEDULER),
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--secure-port={ports.scheduler}",
        f"--cert-dir={places.data / 'api-server'}",
        f"--tls-cert-file={pair.certificate}",
        f"--tls-private-key-file={pair.key}",
        "--profiling=false",
    )
    url = f"https://127.0.0.1:{ports.scheduler}"
    return Component(SCHEDULER, command, Endpoint(url, "/healthz", str(credentials.ca)))


def prometheus(places: Places, ports: Ports) -> Component:
    """The store of the health signals; its targets are files, so they can come and go."""
    places.targets.mkdir()
    places.rules.mkdir()
    configuration = {
        "global": {
            "scrape_interval": SCRAPE_INTERVAL,
            "scrape_timeout": "1s",
            "evaluation_interval": "1s",
        },
        "rule_files": [f"{places.rules}/*.yaml"],
        "scrape_configs": [
            {
                "job_name": "sandbox",
                "file_sd_configs": [{"files": [f"{places.targets}/*.json"], "refresh_interval": "5s"}],
            }
        ],
        "alerting": {
            "alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{ports.alertmanager}"]}]}],
        },
    }
    command = (
        "prometheus",
        f"--config.file={_write_yaml(places, 'prometheus.yaml', configuration)}",
        f"--storage.tsdb.path={places.data / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{ports.prometheus}",
        "--web.enable-lifecycle",
        f"--query.lookback-delta={LOOKBACK}",
        # Prometheus finds its Alertmanager some seconds after it starts, and drops what it would have sent before.
        "--rules.alert.resend-delay=1s",
        "--log.level=warn",
    )
    return Component("prometheus", command, Endpoint(f"http://127.0.0.1:{ports.prometheus}", "/-/ready"))


def alertmanager(places: Places, ports: Ports) -> Component:
    """The receiver of pages. It tells nobody: what it was told can be read from its API."""
    configuration = {
        "route": {
            "receiver": "nobody",
            "group_by": ["..."],
            "group_wait": "0s",
            "group_interval": "1s",
            "repeat_interval": "1h",
        },
        "receivers": [{"name": "nobody"}],
    }
    command = (
        "prometheus-alertmanager",
        f"--config.file={_write_yaml(places, 'alertmanager.yaml', configuration)}",
        f"--storage.path={places.data / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{ports.alertmanager}",
        # An empty address turns clustering off; by default it listens on every interface.
        "--cluster.listen-address=",
        "--log.level=warn",
    )
    return Component("alertmanager", command, Endpoint(f"http://127.0.0.1:{ports.alertmanager}", "/-/ready"))


def registry(places: Places, ports: Ports) -> Component:
    """An OCI registry."""
    configuration = {
        "version": 0.1,
        "log": {"level": "info", "formatter": "text", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(places.data / "registry")},
            "delete": {"enabled": True},
        },
        "http": {
            "addr": f"127.0.0.1:{ports.registry}",
            "secret": secrets.token_hex(16),
        },
    }
    command = (
        "docker-registry",
        "serve",
        str(_write_yaml(places, "registry.yaml", configuration)),
    )
    return Component("registry", command, Endpoint(f"http://127.0.0.1:{ports.registry}", "/v2/"))


def kubeconfig(server: str, ca: Path, user: dict[str, Any], *, namespace: str = "default") -> dict[str, Any]:
    """A kubeconfig for one user of one server; the authority's certificate is inside."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "sandbox",
                "cluster": {
                    "server": server,
                    "certificate-authority-data": encoded(ca),
                },
            }
        ],
        "users": [{"name": "sandbox", "user": user}],
        "contexts": [
            {
                "name": "sandbox",
                "context": {
                    "cluster": "sandbox",
                    "user": "sandbox",
                    "namespace": namespace,
                },
            }
        ],
        "current-context": "sandbox",
    }


def certificate_user(pair: KeyPair) -> dict[str, Any]:
    """The `user` of a kubeconfig who is known by a certificate."""
    return {
        "client-certificate-data": encoded(pair.certificate),
        "client-key-data": encoded(pair.key),
    }


def _authentication() -> dict[str, Any]:
    return {
        "apiVersion": "apiserver.config.k8s.io/v1beta1",
        "kind": "AuthenticationConfiguration",
        # Whoever has no name may ask how the server is, and nothing else.
        "anonymous": {
            "enabled": True,
            "conditions": [{"path": f"/{path}"} for path in ("livez", "readyz", "healthz")],
        },
    }


def _audit_flags(places: Places, *, bodies: bool) -> tuple[str, ...]:
    writes = ["create", "update", "patch", "delete", "deletecollection"]
    ours = [f"{name}{suffix}" for name in OUR_RESOURCES for suffix in ("", "/status")]
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "omitManagedFields": True,
        "rules": [
            {
                "level": "RequestResponse" if bodies else "Metadata",
                "verbs": writes,
                "resources": [{"group": "backstay.dev", "resources": ours}],
            },
            {
                "level": "Metadata",
                "verbs": writes,
                "resources": [
                    {"group": "backstay.dev"},
                    {"group": "apps", "resources": ["controllerrevisions"]},
                ],
            },
            {"level": "None"},
        ],
    }
    return (
        f"--audit-policy-file={_write_yaml(places, 'audit-policy.yaml', policy)}",
        f"--audit-log-path={places.audit_log}",
        # A request is answered only once its event is in the file, so that a recount misses nothing.
        "--audit-log-mode=blocking-strict",
        "--audit-log-maxsize=100000",
    )


def _write_yaml(places: Places, name: str, document: dict[str, Any]) -> Path:
    path = places.configuration / name
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


def decoded(text: str) -> bytes:
    """What `encoded` was given."""
    return base64.b64decode(text)


def encoded(path: Path) -> str:
    """The content of a file as kubeconfigs carry it."""
    return base64.b64encode(path.read_bytes()).decode()


def write_target(directory: Path, job: str, address: str) -> None:
    """Give Prometheus a file of scrape targets with one target, in place of the job's earlier one."""
    # Prometheus sees every name that ends in .json, so the file must appear whole.
    temporary = directory / f"{job}.new"
    temporary.write_text(json.dumps([{"targets": [address], "labels": {"job": job}}]), encoding="utf-8")
    temporary.replace(directory / f"{job}.json")
