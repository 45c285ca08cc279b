"""The chart as a platform team installs it: by the guide, with a real image, as Pods on a real kubelet.

No version was released before this one. The one before is made here: this chart under a lower version, with an image of
that tag, one operator, and a kind that lacks a column.
"""

import asyncio
import base64
import contextlib
import json
import re
import secrets
import shlex
import shutil
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
import pytest_asyncio
import yaml

from backstay.adapters.oci.media_types import OCI_INDEX
from backstay.adapters.oci.new_artifact import Part
from backstay.adapters.oci.push import push_manifest
from backstay.adapters.oci.referrers import referrers
from backstay.adapters.oci.transport import Transport
from backstay.api import KINDS
from backstay.bridge.tokens import target_token
from backstay.errors import BackstayError, Refused
from backstay.ports.registry import Reference, Repository
from backstay.sandbox import Sandbox
from backstay.sandbox.build import helm_binaries
from backstay.sandbox.certificates import Authority
from backstay.sandbox.node.node import Node
from tests.cluster.guide_shell import ROOT, TENANT, GuideShell
from tests.guides import blocks
from tests.helm import schemas
from tests.helm.chart import CHART, EVERYTHING, MONITORING, NAMESPACE, REQUIRED, rendered
from tests.web.alerts import FINGERPRINT, alert, notification

GUIDE = (ROOT / "docs" / "how-to" / "install.md").read_text()
IMAGE, SECRETS, INSTALL, LOOK, UNINSTALL, KUSTOMIZE = blocks(GUIDE, "sh")
VALUES, OVERLAY = blocks(GUIDE, "yaml")
VERSION, BEFORE = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"], "0.0.9"
SECONDS = 120.0
PAGE = "backstay.example"
ALERTS_TOKEN = secrets.token_hex(32)
"""What Alertmanager shows the webhook."""

Json = dict[str, Any]
T = TypeVar("T")
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]


@dataclass(frozen=True, slots=True)
class Stage:
    """A cluster in which the version before is installed, and used by a tenant."""

    sandbox: Sandbox
    node: Node
    shell: GuideShell
    repository: str
    words: dict[str, str]
    """What of the guide is another thing here."""
    authority: Authority
    """Which signs the page's certificate."""

    def here(self, text: str) -> str:
        """A block of the guide with this cluster's addresses and files."""
        for guide, ours in self.words.items():
            text = text.replace(guide, ours)
        return text

    async def json(self, *arguments: str) -> Json:
        found: Json = json.loads(await self.sandbox.kubectl(*arguments, "--output=json"))
        return found

    async def of_the_user(self) -> dict[str, Json]:
        """All that people have put into the cluster: objects of our kinds, Secrets and disks, by what they are."""
        found = {}
        for kind in (*(f"{kind.served.plural}.backstay.dev" for kind in KINDS), "secrets", "persistentvolumeclaims"):
            for one in (await self.json("get", kind, "--namespace", TENANT))["items"]:
                found[f"{kind}/{one['metadata']['name']}"] = {
                    "uid": one["metadata"]["uid"],
                    "spec": one.get("spec", one.get("data")),
                }
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    home = tmp_path_factory.mktemp("helm")
    async with Sandbox.start(home / "sandbox", audit=False, nodes=1, workloads=True) as sandbox:
        stage = staged(sandbox, home)
        await push_by_the_guide(stage, home)
        await stage.shell.run(SECRETS)
        (home / "disk").mkdir()
        await disk(sandbox, home / "disk")
        values = yaml.safe_load(stage.here(VALUES))
        # Short, because each new leader waits for so long; not so short that a busy machine takes it from its holder.
        values["operator"]["leaseSeconds"] = 5
        values["operator"] |= await with_page_and_webhook(stage, home)
        (home / "backstay-values.yaml").write_text(yaml.safe_dump(values))
        before = stage.here(INSTALL).replace("helm/backstay ", f"{version_before(home)} ")
        await stage.shell.run(f"{before.strip()} --set operator.replicas=1")
        await stage.shell.run(f"kubectl apply -n {TENANT} -f {used_by_the_tenant(home)}")
        overlay = Path(stage.words["build/overlay"])
        try:
            yield stage
        finally:
            shutil.rmtree(ROOT / overlay, ignore_errors=True)


def staged(sandbox: Sandbox, home: Path) -> Stage:
    node = sandbox.node("node-1")
    repository = f"{sandbox.registry}/platform/backstay"
    words = {
        "newName: registry.example/platform/backstay": f"newName: {repository}",
        "repository: registry.example/platform/backstay": f"repository: {repository}",
        "prometheus-operated.monitoring:9090": f"{node.address}:{sandbox.prometheus_url.rpartition(':')[2]}",
        "alertmanager-operated.monitoring:9093": f"{node.address}:{sandbox.alertmanager_url.rpartition(':')[2]}",
        "backstay-values.yaml": str(home / "backstay-values.yaml"),
        "build/overlay": f"build/overlay-{secrets.token_hex(4)}",
    }
    (home / "authority").mkdir()
    authority = Authority.create(home / "authority", "ca")
    return Stage(sandbox, node, GuideShell(sandbox, TENANT, home, helm_binaries()), repository, words, authority)


async def with_page_and_webhook(stage: Stage, home: Path) -> Json:
    """Make the Secrets that page and webhook need; gives their values."""
    pair = stage.authority.issue("page", PAGE, names=[PAGE])
    (home / "token").write_text(ALERTS_TOKEN)
    here = ("--namespace", NAMESPACE)
    await stage.sandbox.kubectl("create", "namespace", NAMESPACE)
    files = (f"--cert={pair.certificate}", f"--key={pair.key}")
    await stage.sandbox.kubectl("create", "secret", "tls", "backstay-page-tls", *files, *here)
    await stage.sandbox.kubectl("create", "secret", "generic", "alerts", f"--from-file={home / 'token'}", *here)
    return {
        "page": {"enabled": True, "tls": {"secretName": "backstay-page-tls"}},
        "webhook": {"enabled": True, "tokenSecret": {"name": "alerts"}, "namespaces": [TENANT]},
    }


async def push_by_the_guide(stage: Stage, home: Path) -> None:
    """Build and push as the guide says, and let the tag of the version before name the same."""
    (arguments,) = re.findall(r'^make image ARGS="(.*)"$', IMAGE, re.MULTILINE)
    asked = shlex.split(arguments.replace("registry.example/platform/backstay", stage.repository))
    command = (sys.executable, "-m", "image", "--output", str(home / "image"), *asked)
    done = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    repository = Repository.parse(stage.repository)
    async with aiohttp.ClientSession() as session:
        index = await Transport(session).manifest(repository, VERSION)
    await asyncio.to_thread(push_manifest, repository, BEFORE, Part.of(index, OCI_INDEX))


async def disk(sandbox: Sandbox, directory: Path) -> None:
    """What a cluster has and the sandbox has not: a StorageClass, and a disk in it."""
    node = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-1"]}
    spec = {
        "capacity": {"storage": "10Gi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "standard",
        "persistentVolumeReclaimPolicy": "Retain",
        "local": {"path": str(directory)},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [node]}]}},
    }
    volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "disk"}, "spec": spec}
    await sandbox.apply(yaml.safe_dump(volume))


def version_before(home: Path) -> Path:
    chart = home / "before"
    shutil.copytree(CHART, chart)
    about = chart / "Chart.yaml"
    about.write_text(re.sub(r"^((?:app)?[vV]ersion): .*$", rf"\1: {BEFORE}", about.read_text(), flags=re.MULTILINE))
    kinds = chart / "templates" / "crds.yaml"
    column = re.compile(r"    - name: Scope\n      type: string\n      jsonPath: .status.summary.scope\n.*\n")
    text, count = column.subn("", kinds.read_text())
    assert count == 1
    kinds.write_text(text)
    return chart


def used_by_the_tenant(home: Path) -> Path:
    directory = home / "used"
    directory.mkdir()
    for path in (ROOT / "manifests" / "example").glob("*.yaml"):
        digest = f"registry.example/vision/x@sha256:{'0' * 64}"
        (directory / path.name).write_text(re.sub(r"\b[A-Z]+_ARTIFACT\b", digest, path.read_text()))
    device = {
        "apiVersion": "backstay.dev/v1alpha1",
        "kind": "EdgeDevice",
        "metadata": {"name": "cam-1", "labels": {"customer": "acme"}},
        "spec": {"class": "esp32", "gateway": "gw-eu"},
    }
    (directory / "device.yaml").write_text(yaml.safe_dump(device))
    return directory


async def until(what: str, look: Callable[[], Awaitable[T | None]], seconds: float = SECONDS) -> T:
    """Wait until something is there, and return it."""
    found = None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while found is None:
                with contextlib.suppress(BackstayError, aiohttp.ClientError):
                    found = await look()
                await asyncio.sleep(0.2)
    assert found is not None, f"not within {seconds:.0f} s: {what}"
    return found


async def leader(stage: Stage, *, other_than: str = "") -> str:
    """The Pod that leads: it exists, holds the Lease, and has written what it sees."""

    async def look() -> str | None:
        lease = await stage.json("get", "lease", "backstay-operator", "--namespace", NAMESPACE)
        pods = await stage.json("get", "pods", "--namespace", NAMESPACE)
        holder = lease["spec"].get("holderIdentity", "")
        names = [pod["metadata"]["name"] for pod in pods["items"]]
        return next((name for name in names if holder.startswith(name) and name != other_than), None)

    return await until("a Pod leads", look)


async def answered(stage: Stage) -> None:
    """Wait until the operator has seen the newest group and said so."""
    name = f"group-{secrets.token_hex(4)}"
    group = {
        "apiVersion": "backstay.dev/v1alpha1",
        "kind": "DeviceGroup",
        "metadata": {"name": name, "namespace": TENANT},
        "spec": {"selector": {"matchLabels": {"customer": "acme"}}},
    }
    await stage.sandbox.kubectl("create", "-f", "-", input=json.dumps(group))

    async def look() -> bool | None:
        status = (await stage.json("get", "devicegroup", name, "--namespace", TENANT)).get("status", {})
        return status.get("devices") == 1 or None

    try:
        await until("the operator counts the device of a new group", look)
    finally:
        await stage.sandbox.kubectl("delete", "devicegroup", name, "--namespace", TENANT)


async def test_what_the_chart_renders_is_what_the_api_server_s_own_schemas_say(stage: Stage, tmp_path: Path) -> None:
    paths = json.loads(await stage.sandbox.kubectl("get", "--raw", "/openapi/v3"))["paths"]
    wanted = (
        "api/v1",
        "apis/apps/v1",
        "apis/policy/v1",
        "apis/networking.k8s.io/v1",
        "apis/rbac.authorization.k8s.io/v1",
    )
    for path in (*wanted, "apis/admissionregistration.k8s.io/v1", "apis/apiextensions.k8s.io/v1"):
        served = await stage.sandbox.kubectl("get", "--raw", paths[path]["serverRelativeURL"])
        schemas.write_served(json.loads(served), tmp_path)
    others = ("ServiceMonitor", "PrometheusRule", "Certificate")
    for values in (REQUIRED, EVERYTHING):
        text = await asyncio.to_thread(rendered, tmp_path, MONITORING, values=values)
        done = await asyncio.to_thread(schemas.conforms, text, tmp_path, *others)
        assert (done.returncode, done.stdout) == (0, "")
        wrong = text.replace("readOnlyRootFilesystem", "readonlyRootFilesystem")
        refused = await asyncio.to_thread(schemas.conforms, wrong, tmp_path, *others)
        assert "additional properties 'readonlyRootFilesystem' not allowed" in refused.stdout


async def test_operator_leads_as_a_pod_that_may_nothing_but_its_work(stage: Stage) -> None:
    name = await leader(stage)
    await answered(stage)

    program = "import os; print(os.getuid()); open('/tmp/mine', 'w'); open('/theirs', 'w')"
    inside = ("exec", name, "--namespace", NAMESPACE, "--", "python3.11", "-c", program)
    with pytest.raises(Refused, match="Read-only file system: '/theirs'"):
        await stage.sandbox.kubectl(*inside)
    inside = (*inside[:-1], program.rpartition(";")[0])
    assert (await stage.sandbox.kubectl(*inside)).strip() == "65532"


async def test_bridge_serves_a_device_as_a_pod(stage: Stage) -> None:
    wait = ("wait", "pod/backstay-bridge-gw-eu-0", "--namespace", TENANT, "--for=condition=Ready", "--timeout=60s")
    await stage.sandbox.kubectl(*wait)
    pod = await stage.json("get", "pod", "backstay-bridge-gw-eu-0", "--namespace", TENANT)
    secret = await stage.json("get", "secret", "backstay-tenant-key", "--namespace", TENANT)
    key = base64.b64decode(secret["data"]["key"])
    address = pod["status"]["podIP"]
    url = f"http://{address}:8443/{TENANT}/controller/v1/cam-1"

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        async with session.get(url) as stranger:
            assert stranger.status == 401
        async with session.get(
            url, headers={"Authorization": f"TargetToken {target_token(key, 'cam-1', 1)}"}
        ) as device:
            assert device.status == 200
            assert (await device.json())["config"]["polling"]["sleep"] == "00:01:00"
        async with session.get(f"http://{address}:8080/metrics") as metrics:
            assert 'backstay_device_reachable{namespace="acme",device="cam-1"} 1.0' in await metrics.text()


async def test_image_is_listed_with_what_is_inside(stage: Stage) -> None:
    async with aiohttp.ClientSession() as session:
        transport = Transport(session)
        repository = Repository.parse(stage.repository)
        (platform,) = json.loads(await transport.manifest(repository, BEFORE))["manifests"]
        (bill,) = await referrers(transport, Reference.parse(f"{stage.repository}@{platform['digest']}"))
        (layer,) = json.loads(await transport.manifest(repository, bill["digest"]))["layers"]
        async with session.get(f"{repository.origin}/v2/{repository.path}/blobs/{layer['digest']}") as response:
            names = {one["name"] for one in json.loads(await response.read())["components"]}

    assert bill["artifactType"] == "application/vnd.cyclonedx+json"
    assert {"libc6", "python3.11", "kopf", "aiohttp", "scipy"} <= names


async def test_upgrade_takes_the_kinds_along_and_loses_nothing(stage: Stage) -> None:
    old = await leader(stage)
    before = await stage.of_the_user()
    assert len(before) >= 7

    told = await stage.shell.run(stage.here(INSTALL))

    assert f"Backstay {VERSION} is installed in backstay-system." in told
    assert "WARNING: its devices speak plain HTTP" in told
    assert await stage.of_the_user() == before
    columns = await stage.sandbox.kubectl("get", "holds", "--namespace", TENANT)
    assert "SCOPE" in columns
    await leader(stage, other_than=old)
    await answered(stage)

    async def both_are_ready() -> bool | None:
        return len(re.findall(r"backstay-operator-\S+ +1/1 +Running", await stage.shell.run(LOOK))) == 2 or None

    await until("both operators are ready", both_are_ready)


async def behind_the_page(stage: Stage) -> tuple[str, str]:
    """The Pod that the page's Service leads to, and its address, as whoever carries Services out reads them."""

    async def look() -> tuple[str, str] | None:
        here = ("--namespace", NAMESPACE)
        service = await stage.json("get", "service", "backstay-page", *here)
        of_service = "--selector=kubernetes.io/service-name=backstay-page"
        slices = await stage.json("get", "endpointslices", of_service, *here)
        names = {port["name"] for port in service["spec"]["ports"]}
        found = [
            (endpoint["targetRef"]["name"], f"{endpoint['addresses'][0]}:{port['port']}")
            for one in slices["items"]
            for endpoint in one["endpoints"]
            for port in one["ports"]
            if endpoint["conditions"]["ready"] and port["name"] in names
        ]
        assert len(found) <= 1
        return found[0] if found else None

    return await until("the page's Service leads somewhere", look)


@contextlib.asynccontextmanager
async def browser(stage: Stage, pod_address: str) -> AsyncIterator[Callable[..., Awaitable[aiohttp.ClientResponse]]]:
    """Asks the page at an address, as somebody who called it by its name."""
    trust = ssl.create_default_context(cafile=str(stage.authority.certificate))
    jar, limit = aiohttp.CookieJar(unsafe=True), aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(cookie_jar=jar, timeout=limit) as session:

        async def ask(path: str, **form: str) -> aiohttp.ClientResponse:
            method = "POST" if form else "GET"
            answer = await session.request(
                method, f"https://{pod_address}{path}", data=form or None, ssl=trust, server_hostname=PAGE
            )
            await answer.read()
            return answer

        yield ask


async def test_service_of_the_page_leads_to_the_leader_and_then_to_the_next(stage: Stage) -> None:
    token = (await stage.sandbox.kubectl("create", "token", "bridge-gw-eu", "--namespace", TENANT)).strip()
    first = await leader(stage)
    standby = await addresses(stage, other_than=first)

    await signed_in(stage, first, token)
    async with browser(stage, f"{standby[0]}:8443") as ask:
        assert (await ask("/")).status == 503, "the standby, to which the Service does not lead"

    await stage.sandbox.kubectl("delete", "pod", first, "--namespace", NAMESPACE, "--wait=false")
    await signed_in(stage, await leader(stage, other_than=first), token)


async def signed_in(stage: Stage, name: str, token: str) -> None:
    """Wait until the Service leads to a Pod, sign in there, and see what one may see."""

    async def leads() -> str | None:
        pod, address = await behind_the_page(stage)
        return address if pod == name else None

    async with browser(stage, await until(f"the page's Service leads to {name}", leads)) as ask:
        assert (await ask("/-/sign-in", token=token, to="/")).status == 200
        page = await ask(f"/{TENANT}/devices/cam-1")
        assert (page.status, "cam-1" in await page.text()) == (200, True)


async def addresses(stage: Stage, *, other_than: str) -> list[str]:
    """Where the operators are that stay, but for one."""
    selector = "--selector=app.kubernetes.io/component=operator"
    pods = (await stage.json("get", "pods", selector, "--namespace", NAMESPACE))["items"]
    stay = [one for one in pods if "deletionTimestamp" not in one["metadata"]]
    return [one["status"]["podIP"] for one in stay if one["metadata"]["name"] != other_than]


async def test_alert_makes_and_lifts_its_hold_at_an_operator_that_does_not_lead(stage: Stage) -> None:
    standby, *_ = await addresses(stage, other_than=await leader(stage))
    authorization = {"Authorization": f"Bearer {ALERTS_TOKEN}"}

    async def told(status: str) -> bool | None:
        body = notification(alert(status))
        async with (
            aiohttp.ClientSession(headers=authorization) as session,
            session.post(f"http://{standby}:8090/alerts", json=body) as answer,
        ):
            assert answer.status == 200, await answer.text()
            return True

    await until("the standby takes an alert", lambda: told("firing"))
    hold = await stage.json("get", "hold", f"alert-{FINGERPRINT}", "--namespace", TENANT)
    assert hold["metadata"]["labels"]["backstay.dev/made-by"] == "alert"
    await told("resolved")
    left = await stage.sandbox.kubectl("get", "holds", "--namespace", TENANT, "--output=name")
    assert f"alert-{FINGERPRINT}" not in left


async def test_uninstall_keeps_what_is_the_user_s_and_kustomize_and_helm_go_on_from_there(stage: Stage) -> None:
    before = await stage.of_the_user()
    kinds = await stage.json("get", "crds")

    await stage.shell.run(UNINSTALL)

    await gone(stage)
    assert await stage.of_the_user() == before
    assert uids(await stage.json("get", "crds")) == uids(kinds)

    overlay = yaml.safe_load(stage.here(OVERLAY))
    overlay["patches"][0]["patch"] += (
        '\n- {op: replace, path: /spec/template/spec/containers/0/args/5, value: "--lease-duration=5"}'
    )
    directory = ROOT / stage.words["build/overlay"]
    directory.mkdir(parents=True)
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    await stage.shell.run(stage.here(KUSTOMIZE))
    await leader(stage)
    await answered(stage)
    assert await stage.of_the_user() == before

    (flags,) = re.findall(r"`(--take-ownership .*)`", GUIDE)
    await stage.shell.run(f"{stage.here(INSTALL).strip()} {flags}")
    await leader(stage)
    await answered(stage)
    assert await stage.of_the_user() == before
    assert uids(await stage.json("get", "crds")) == uids(kinds)


async def gone(stage: Stage) -> None:
    """Wait until nothing is left of what works; Pods end after whatever made them."""

    async def look() -> bool | None:
        kinds = (
            "deployments,statefulsets,pods,endpointslices,clusterroles,roles,rolebindings,validatingadmissionpolicies"
        )
        left = await stage.json("get", kinds, "--all-namespaces")
        return not [one for one in left["items"] if "backstay" in one["metadata"]["name"]] or None

    await until("what was installed is gone", look)


def uids(objects: Json) -> set[str]:
    return {one["metadata"]["uid"] for one in objects["items"]}
