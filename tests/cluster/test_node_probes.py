"""A node's probes against the real API server: Pods as it writes them."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from backstay.adapters.kube.client import KubeClient, Resource
from backstay.adapters.node.probes.pod import KubeletPods
from backstay.adapters.node.probes.registry import build
from backstay.adapters.node.probes.surroundings import Surroundings
from backstay.core.device import Probe
from backstay.core.probing import Measurement
from backstay.errors import Conflict

PODS = Resource("", "v1", "pods")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts")


async def measured(kube: KubeClient, namespace: str, **settings: str) -> Measurement:
    source = KubeletPods(kube._session, f"{kube.host}/api/v1/namespaces/{namespace}")
    around = Surroundings(kube._session, pods=source)
    return await build(Probe("pod", "PodHealthy", tuple(settings.items())), around).run()


@pytest.fixture
async def pod(kube: KubeClient, namespace: str) -> str:
    """A Pod that is bound to a node, of which no kubelet has said anything yet."""
    # The controller makes it too, some moments after the namespace; whoever comes first.
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    with suppress(Conflict):
        await kube.create(SERVICE_ACCOUNTS, account, namespace)
    spec = {
        "nodeName": "node7",
        "automountServiceAccountToken": False,
        "containers": [{"name": "server", "image": "registry.example/inference:1"}],
    }
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "inference-node7"}, "spec": spec}
    await kube.create(PODS, document, namespace)
    return f"{namespace}/inference"


async def test_pod_is_judged_by_what_the_server_says_of_it(kube: KubeClient, namespace: str, pod: str) -> None:
    assert (await measured(kube, namespace, pod=f"{namespace}/other")).fault == "NoPod"
    pending = await measured(kube, namespace, pod=pod)
    assert (pending.fault, pending.detail.split(",")[0]) == ("NotReady", "Pod inference-node7 is Pending")
    started = (datetime.now(UTC) - timedelta(minutes=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    running = {
        "name": "server",
        "ready": True,
        "restartCount": 1,
        "image": "registry.example/inference:1",
        "imageID": "",
        "state": {"running": {"startedAt": started}},
    }
    ready = {"type": "Ready", "status": "True"}
    status = {"phase": "Running", "conditions": [ready], "containerStatuses": [running]}
    await kube.merge_patch(PODS, "inference-node7", {"status": status}, namespace, subresource="status")
    assert (await measured(kube, namespace, pod=pod)).passed
    assert (await measured(kube, namespace, pod=pod, minUptime="1h")).fault == "JustStarted"
