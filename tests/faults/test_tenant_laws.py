"""Promise 15 at the real API server: whatever a bridge writes with its identity, only what is its own can change.

A bridge whose machine was taken over has its token and all the time in the world. What it tries here is drawn at random
from everything that the API offers for the kinds that matter: of its own gateway, of another, and of another tenant.
"""

import asyncio
import base64
from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from backstay.adapters.kube.client import (
    CONTROLLER_REVISIONS,
    DEVICE_GROUPS,
    EDGE_DEVICES,
    HEALTH_RULES,
    HOLDS,
    RELEASE_PLANS,
    SECRETS,
    KubeClient,
    Resource,
)
from backstay.errors import BackstayError
from backstay.sandbox import Sandbox
from tests.cluster.conftest import ROOT

Json = dict[str, Any]

OURS, THEIRS, NEW = "cam-eu", "cam-us", "cam-new"
GUARDED = ("backstay-tenant-key", "backstay-gateway-gw-us")
DIGEST = f"sha256:{'0' * 64}"
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles")
BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings")
KINDS = {
    EDGE_DEVICES: "EdgeDevice",
    HOLDS: "Hold",
    DEVICE_GROUPS: "DeviceGroup",
    RELEASE_PLANS: "ReleasePlan",
    HEALTH_RULES: "HealthRule",
    SECRETS: "Secret",
    CONTROLLER_REVISIONS: "ControllerRevision",
    ROLES: "Role",
    BINDINGS: "RoleBinding",
}
SETTLE_SECONDS = 20.0


def device(name: str, gateway: str) -> Json:
    return _object("EdgeDevice", name) | {"spec": {"class": "esp32", "gateway": gateway}}


def _object(kind: str, name: str) -> Json:
    return {"apiVersion": "backstay.dev/v1alpha1", "kind": kind, "metadata": {"name": name}}


async def furnished(kube: KubeClient, sandbox: Sandbox, namespace: str) -> None:
    """A tenant with one thing of each kind, and two gateways with one device each."""
    text = (ROOT / "manifests/tenant/bridge-rbac.yaml").read_text().replace("TENANT", namespace)
    for gateway in ("gw-eu", "gw-us"):
        await sandbox.apply(text.replace("GATEWAY", gateway))
    await kube.create(EDGE_DEVICES, device(OURS, "gw-eu"), namespace)
    await kube.create(EDGE_DEVICES, device(THEIRS, "gw-us"), namespace)
    await kube.create(DEVICE_GROUPS, _object("DeviceGroup", "all") | {"spec": {"selector": {}}}, namespace)
    await kube.create(
        HOLDS, _object("Hold", "stop") | {"spec": {"reason": "smoke", "scope": {"devices": [OURS]}}}, namespace
    )
    for name in ("backstay-tenant-key", "registry"):
        data = {"key": base64.b64encode(b"k" * 32).decode()}
        await kube.create(
            SECRETS, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}, namespace
        )


async def everything(kube: KubeClient, namespaces: tuple[str, str]) -> dict[tuple[str, str, str], Json]:
    """Every object of the kinds that matter, without what the API server notes about its writers."""
    found = {}
    for resource in KINDS:
        for namespace in namespaces:
            for item in await kube.list(resource, namespace):
                metadata = {key: value for key, value in item["metadata"].items() if key not in _NOTES}
                found[resource.plural, namespace, item["metadata"]["name"]] = {**item, "metadata": metadata}
    return found


_NOTES = {"managedFields", "resourceVersion", "generation"}

FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "gateway": st.sampled_from(["gw-eu", "gw-us", ""]),
        "node": st.just("box-1"),
        "class": st.sampled_from(["esp32", "rk3566"]),
        "enrolled": st.booleans(),
        "revoked": st.booleans(),
        "tokenGeneration": st.integers(1, 3),
        "mode": st.sampled_from(["Normal", "Safe"]),
        "recover": st.integers(0, 2),
        "pins": st.just({"model": DIGEST}),
        "desired": st.just({"model": {"plan": "p", "revision": "r-1", "content": DIGEST}}),
        "paused": st.booleans(),
        "reason": st.just("because"),
        "scope": st.just({}),
        "selector": st.just({}),
    },
)
METADATA = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.dictionaries(
            st.sampled_from(["audience", "site"]), st.sampled_from(["internal", "x"]), max_size=2
        ),
        "annotations": st.just({"backstay.dev/request": "approve@a-1/internal/1"}),
        "finalizers": st.just(["backstay.dev/never"]),
        "ownerReferences": st.just([{"apiVersion": "v1", "kind": "Secret", "name": "registry", "uid": "0"}]),
    },
)
STATUS = st.fixed_dictionaries(
    {}, optional={"agent": st.just("stolen/1"), "slot": st.just("ota_1"), "phase": st.just("Succeeded")}
)
BODIES = st.fixed_dictionaries({}, optional={"spec": FIELDS, "metadata": METADATA, "status": STATUS})
ATTEMPTS = st.tuples(
    st.sampled_from(["patch", "apply", "replace", "create", "delete"]),
    st.just(EDGE_DEVICES) | st.sampled_from(list(KINDS)),
    st.sampled_from(
        [OURS, THEIRS, NEW, NEW, "all", "stop", "registry", "backstay-tenant-key", "backstay-gateway-gw-us"]
    ),
    st.sampled_from([0, 0, 0, 1]),
    st.sampled_from([None, "status"]),
    BODIES,
)
MAY_REPORT = ("patch", EDGE_DEVICES, OURS, 0, "status", {"status": {"slot": "ota_1"}})
MAY_PUT_UP = ("create", EDGE_DEVICES, NEW, 0, None, {})
"""What a bridge is there for."""


async def test_nothing_but_its_own_changes_whatever_a_bridge_writes(
    sandbox: Sandbox, kube: KubeClient, namespaces: tuple[str, str]
) -> None:
    for namespace in namespaces:
        await furnished(kube, sandbox, namespace)
    kubeconfig = await sandbox.service_account_kubeconfig(namespaces[0], "bridge-gw-eu")
    loop = asyncio.get_running_loop()
    async with KubeClient.connect(kubeconfig) as bridge:
        await _until_in_force(bridge, namespaces[0])
        before = await everything(kube, namespaces)
        taken = []

        async def tried(attempt: Any) -> None:
            if await _try(bridge, kube, attempt, namespaces):
                taken.append(attempt)
            after = await everything(kube, namespaces)
            assert list(_changes(before, after, namespaces[0])) == []
            for _, namespace, name in after.keys() - before.keys():
                await kube.delete(EDGE_DEVICES, name, namespace)

        @settings(suppress_health_check=list(HealthCheck))
        @given(ATTEMPTS)
        @example(MAY_REPORT)
        @example(MAY_PUT_UP)
        def law(attempt: Any) -> None:
            asyncio.run_coroutine_threadsafe(tried(attempt), loop).result(SETTLE_SECONDS)

        await loop.run_in_executor(None, law)
    allowed = [attempt for attempt in (MAY_REPORT, MAY_PUT_UP) if attempt in taken]
    assert allowed == [MAY_REPORT, MAY_PUT_UP], "the law would hold of a bridge that can do nothing"


async def _until_in_force(bridge: KubeClient, namespace: str) -> None:
    """A policy takes effect some moments after it was applied."""
    async with asyncio.timeout(SETTLE_SECONDS):
        while True:
            try:
                await bridge.merge_patch(
                    EDGE_DEVICES, THEIRS, {"status": {"slot": ""}}, namespace, subresource="status"
                )
            except BackstayError:
                return
            await asyncio.sleep(0.2)


async def _try(bridge: KubeClient, kube: KubeClient, attempt: Any, namespaces: tuple[str, str]) -> bool:
    how, resource, name, place, subresource, body = attempt
    namespace = namespaces[place]
    envelope = _object(KINDS[resource], name) | {"apiVersion": f"{resource.group or ''}/{resource.version}".lstrip("/")}
    whole = envelope | body | {"metadata": envelope["metadata"] | body.get("metadata", {})}
    try:
        match how:
            case "patch":
                await bridge.merge_patch(resource, name, body, namespace, subresource=subresource)
            case "apply":
                await bridge.apply(resource, name, whole, namespace, subresource=subresource)
            case "replace":
                known = await kube.get(resource, name, namespace)
                changed = known | {key: known.get(key, {}) | value for key, value in body.items()}
                await bridge.replace(resource, name if subresource is None else f"{name}/status", changed, namespace)
            case "create":
                if resource is EDGE_DEVICES:
                    # Otherwise next to none would get as far as the policy.
                    whole["spec"] = {"class": "esp32", "gateway": "gw-eu", "enrolled": False, **body.get("spec", {})}
                await bridge.create(resource, whole, namespace)
            case _:
                await bridge.delete(resource, name, namespace)
    except BackstayError:
        return False
    return True


def _changes(before: dict[Any, Json], after: dict[Any, Json], own_namespace: str) -> Iterator[str]:
    """What has changed that was not the bridge's to change."""
    for key in before.keys() | after.keys():
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        where = "/".join(key)
        if key == ("edgedevices", own_namespace, OURS) and old and new:
            if {**old, "status": None} != {**new, "status": None}:
                yield f"more than the status of {where} changed"
        elif key[:2] == ("edgedevices", own_namespace) and old is None and new:
            if not _is_bare(new):
                yield f"{where} was put up as {new}"
        else:
            yield f"{where} changed from {old} to {new}"


def _is_bare(item: Json) -> bool:
    spec = item["spec"]
    usual = {"class", "gateway", "enrolled", "mode", "recover", "tokenGeneration", "revoked"}
    left = {key for key in spec if key not in usual}
    plain = (spec["gateway"], spec["enrolled"], spec.get("mode", "Normal"), spec.get("revoked", False))
    extra = item["metadata"].keys() & {"labels", "annotations", "finalizers", "ownerReferences"}
    numbers = (spec.get("tokenGeneration", 1), spec.get("recover", 0))
    return not left and not extra and plain == ("gw-eu", False, "Normal", False) and numbers == (1, 0)
