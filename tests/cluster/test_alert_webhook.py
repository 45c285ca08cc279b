"""The operator as others see it from outside: what it measures and logs, and what a real Alertmanager may ask of it."""

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from backstay.adapters.kube.client import HOLDS, KubeClient
from backstay.core.planes import Plane
from backstay.errors import Forbidden
from backstay.sandbox import Sandbox
from backstay.sandbox.ports import free_ports
from tests.cluster.operator_stage import Devices, Json, Operator, applied, holds, plan, push, running_operator
from tests.contracts.otlp_receiver import Collector, attributes, collector
from tests.contracts.real_alertmanager import alertmanager, until

TOKEN = "0123456789abcdef0123456789abcdef"
ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")


@dataclass
class Scene:
    """An operator, and an Alertmanager that knows its token, or another one."""

    operator: Operator
    url: str
    metrics_url: str
    traces: Collector

    async def raise_(self, *, ends_in: timedelta = timedelta(minutes=5), **changes: Any) -> None:
        now = datetime.now(UTC)
        alert = {
            "labels": {"alertname": "AccuracyLow", "backstay_hold": "true", **changes.pop("labels", {})},
            "annotations": {"summary": "the model has become wrong", **changes},
            "startsAt": (now - timedelta(minutes=1)).isoformat(),
            "endsAt": (now + ends_in).isoformat(),
        }
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}/api/v2/alerts", json=[alert]) as answer,
        ):
            assert answer.status == 200, await answer.text()

    async def get(self, path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.get(f"{self.metrics_url}{path}") as answer:
            return answer.status, await answer.text()

    async def series(self) -> dict[tuple[str, str], float]:
        """Every series of the operator, by name and the values of its labels in the order of their names."""
        _, text = await self.get("/metrics")
        return {
            (sample.name, " ".join(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if not sample.name.endswith("_created")
        }


@pytest.fixture
async def scene(
    request: pytest.FixtureRequest, sandbox: Sandbox, namespace: str, tmp_path: Path
) -> AsyncIterator[Scene]:
    """The operator with every address that it can have; a parameter is the token that Alertmanager sends."""
    text = (ROOT / "manifests/tenant/alert-holds-rbac.yaml").read_text().replace("TENANT", namespace)
    await sandbox.kubectl("apply", "--server-side", "-f", "-", input=text)
    ports = free_ports()
    metrics, webhook = f"127.0.0.1:{ports.alertmanager}", f"127.0.0.1:{ports.prometheus}"
    (tmp_path / "token").write_text(TOKEN)
    options = (
        "--lease-duration", "15", "--metrics-listen", metrics, "--log-format", "json",
        "--webhook-listen", webhook, "--webhook-token-file", str(tmp_path / "token"), "--webhook-namespace", namespace,
    )  # fmt: skip
    token = getattr(request, "param", TOKEN)
    receiver = {
        "url": f"http://{webhook}/alerts",
        "http_config": {"authorization": {"type": "Bearer", "credentials": token}},
    }
    route = {
        "receiver": "holds",
        "group_by": ["..."],
        "group_wait": "0s",
        "group_interval": "1s",
        "repeat_interval": "1h",
    }
    configuration = {"route": route, "receivers": [{"name": "holds", "webhook_configs": [receiver]}]}
    async with (
        collector() as traces,
        running_operator(
            sandbox, tmp_path / "operator", *options, environment={"OTEL_EXPORTER_OTLP_ENDPOINT": traces.url}
        ) as operator,
        alertmanager(tmp_path, configuration) as url,
    ):
        await operator.hears("alerts may make holds")
        yield Scene(operator, url, f"http://{metrics}", traces)


async def test_alert_holds_what_it_says_until_it_is_resolved(
    scene: Scene, sandbox: Sandbox, kube: KubeClient, namespace: str
) -> None:
    labels = {"namespace": namespace, "site": "hall-1"}
    asks = {"backstay_hold_selector": "site=hall-1", "backstay_hold_for": "30m", "backstay_hold_in_flight": "Return"}
    begun = datetime.now(UTC)
    await scene.raise_(labels=labels, **asks)
    await until(lambda: _count(kube, namespace, 1))
    (made,) = await holds(kube, namespace)
    spec = made["spec"]
    assert spec["scope"] == {"selector": {"matchLabels": {"site": "hall-1"}}}
    assert spec["inFlight"] == "Return"
    assert timedelta(minutes=29) < datetime.fromisoformat(spec["until"]) - begun < timedelta(minutes=31)
    assert spec["reason"].startswith("alert AccuracyLow: the model has become wrong")

    # A hold that no alert made is not the operator's to lift, whatever its code would do.
    await kube.create(HOLDS, _of_a_person(), namespace)
    identity = await sandbox.service_account_kubeconfig("backstay-system", "backstay-operator")
    async with KubeClient.connect(identity) as as_operator:
        with pytest.raises(Forbidden, match="no alert made it"):
            await as_operator.delete(HOLDS, "of-a-person", namespace)

    await scene.raise_(ends_in=timedelta(seconds=-1), labels=labels, **asks)
    await until(lambda: _count(kube, namespace, 1))
    assert [hold["metadata"]["name"] for hold in await holds(kube, namespace)] == ["of-a-person"]
    series = await scene.series()
    assert series["backstay_webhook_alerts_total", "made"] == 1
    assert series["backstay_webhook_alerts_total", "lifted"] == 1


@pytest.mark.parametrize("scene", ["another token than the operator's"], indirect=True)
async def test_alert_holds_nothing_when_the_token_is_wrong(scene: Scene, kube: KubeClient, namespace: str) -> None:
    await scene.raise_(labels={"namespace": namespace}, backstay_hold_everything="true")
    await until(lambda: _is_refused(scene))
    assert await holds(kube, namespace) == []
    # It is the end of its retries: Alertmanager sends a 4xx once.
    assert (await scene.series()).get(("backstay_webhook_alerts_total", "made")) is None


async def test_operator_tells_of_itself_while_it_rolls_a_plan_out(
    scene: Scene, sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    await until(lambda: _is_ready(scene))
    assert (await scene.get("/healthz"))[0] == 200
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    vision = await applied(kube, namespace, plan("vision", model))
    status = await vision.reaches("Succeeded")
    series = await scene.series()
    names = {name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name, _ in series}
    assert {name for name in names if f"| `{name}` |" not in REFERENCE} == set()
    assert series["backstay_plan_info", f"{namespace} Succeeded vision {status['revision']} everyone"] == 1
    assert series["backstay_plan_ring_devices", f"{namespace} vision everyone confirmed"] == 5
    assert series["backstay_plan_exposed_devices", f"{namespace} vision"] == 0
    assert series["backstay_plan_exposure_device_seconds_total", f"{namespace} vision"] > 0
    assert series["backstay_operator_leader", ""] == 1
    assert series["backstay_operator_api_writes_total", "edgedevices done patch"] >= 6
    assert series["backstay_operator_reconcile_duration_seconds_count", "done"] > 0

    bad = await push(sandbox, tmp_path, Plane.MODEL, "2.0.0")
    fleet.breaks[bad.content] = "ProbeFailed: camera"
    await vision.edit(versions={"model": {"version": "2.0.0", "artifact": str(bad.reference)}})
    await vision.reaches("RolledBack")
    await until(lambda: _has_recovered(scene))
    series = await scene.series()
    assert series["backstay_plan_last_recovery_seconds", f"{namespace} vision"] > 0
    assert series["backstay_operator_page_deliveries_total", "done"] > 0
    await until(lambda: _is_delivered(scene))
    assert series["backstay_operator_api_writes_total", "holds done create"] == 1

    # Its last lines are written when it is told to stop.
    scene.operator.process.terminate()
    assert await scene.operator.ends() == 0
    lines = [json.loads(line) for line in scene.operator.said.splitlines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    revision = status["revision"]
    moved = [line for line in lines if "Soaking" in line["message"] and line["revision"] == revision]
    assert [(line["namespace"], line["plan"], line["revision"], line["ring"]) for line in moved] == [
        (namespace, "vision", status["revision"], "canary"),
        (namespace, "vision", status["revision"], "everyone"),
    ]

    applied_in = [attributes(span) for span in scene.traces.named("apply")]
    assert {
        "backstay.phase": "Soaking",
        "backstay.revision": status["revision"],
        "backstay.ring": "canary",
    } in applied_in
    writes = scene.traces.named("write")
    orders = [span for span in writes if attributes(span)["backstay.resource"] == "edgedevices"]
    assert {attributes(span)["backstay.device"] for span in orders} == {f"cam-{number}" for number in range(6)}
    for order in orders:
        within = scene.traces.parent(order)
        assert within is not None
        assert within.name == "apply"
        reconcile = scene.traces.parent(within)
        assert reconcile is not None
        assert attributes(reconcile) == {"backstay.namespace": namespace, "backstay.plan": "vision"}


async def test_operator_that_waits_says_so_and_is_ready_to_take_over(
    scene: Scene, sandbox: Sandbox, tmp_path: Path
) -> None:
    await until(lambda: _is_ready(scene))
    address = f"127.0.0.1:{free_ports().registry}"
    async with running_operator(sandbox, tmp_path / "standby", "--lease-duration", "15", "--metrics-listen", address):
        waiting = replace(scene, metrics_url=f"http://{address}")
        await until(lambda: _waits(waiting))
        assert (await waiting.series())["backstay_operator_leader", ""] == 0


async def _waits(scene: Scene) -> bool:
    with suppress(aiohttp.ClientConnectionError):
        status, words = await scene.get("/readyz")
        return status == 200 and words.startswith("standby: ready to take over from ")
    return False


async def _count(kube: KubeClient, namespace: str, wanted: int) -> bool:
    return len(await holds(kube, namespace)) == wanted


async def _is_refused(scene: Scene) -> bool:
    return (await scene.series())["backstay_webhook_refused_total", "unauthorized"] >= 1


async def _has_recovered(scene: Scene) -> bool:
    series = await scene.series()
    recovered = series["backstay_operator_recovery_duration_seconds_count", ""] == 1
    # The page of its end follows the one of its going back.
    return recovered and series.get(("backstay_operator_pages_due", "BackstayRolledBack"), 0) > 0


async def _is_delivered(scene: Scene) -> bool:
    return (await scene.series())["backstay_operator_pages_undelivered", ""] == 0


async def _is_ready(scene: Scene) -> bool:
    status, words = await scene.get("/readyz")
    return status == 200 and words.startswith("leading: ")


def _of_a_person() -> Json:
    return {
        "apiVersion": "backstay.dev/v1alpha1",
        "kind": "Hold",
        "metadata": {"name": "of-a-person"},
        "spec": {"reason": "a person", "scope": {"selector": {}}},
    }
