"""The series of a node, as its agent serves them and a real Prometheus scrapes them."""

import asyncio
import re
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from backstay.adapters.kube.client import EDGE_DEVICES, KubeClient
from backstay.core.planes import Plane
from backstay.sandbox import Sandbox
from tests.cluster.agent_process import Installation
from tests.cluster.agent_stage import push_for_node
from tests.cluster.conftest import ROOT
from tests.cluster.test_agent import DEVICE, answered, appoint, order, until

REFERENCE = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
MEMORY = {"name": "memory", "kind": "MemoryHeadroom", "min": "1Mi"}
QUERY = (
    'min(backstay_memory_available_bytes * on(namespace, device) group_left() backstay_device_info{{namespace="{0}",'
    'class="rk3566", plan="vision", revision="3f9c2a1b-2", ring="canary", site="hall-1", model="1.0.0"}})'
)


async def scraped(session: aiohttp.ClientSession, url: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    async with session.get(url) as response:
        assert response.status == 200
        text = await response.text()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {
        name: [(one.labels, one.value) for one in samples if one.name == name] for name in {s.name for s in samples}
    }


async def asked(session: aiohttp.ClientSession, prometheus: str, query: str) -> list[Any]:
    async with session.get(f"{prometheus}/api/v1/query", params={"query": query}) as response:
        return list((await response.json())["data"]["result"])


async def test_series_of_a_node_reach_prometheus_under_its_edgedevices_labels(
    sandbox: Sandbox, kube: KubeClient, namespace: str, tmp_path: Path
) -> None:
    node = f"box-{namespace}"
    await appoint(sandbox, kube, namespace, DEVICE, node)
    model = await push_for_node(sandbox, tmp_path / "model", Plane.MODEL, "1.0.0")
    kubeconfig = sandbox.node_kubeconfig(node)
    box = Installation(tmp_path, kubeconfig, namespace, DEVICE, ("--metrics-listen", "127.0.0.1:0"))
    async with box.running(), aiohttp.ClientSession() as session:
        await order(kube, namespace, 1, model, probes=[MEMORY])
        await until(kube, namespace, answered(Plane.MODEL, 1))
        (url,) = re.findall(r"metrics at (http://\S+)", box.log.read_text())
        found = await scraped(session, url)
        own = {"namespace": namespace, "device": DEVICE}
        assert found["backstay_device_reachable"] == [(own, 1.0)]
        assert found["backstay_probes_failing"] == [(own, 0.0)]
        assert found["backstay_agent_steps_total"] == [(own | {"plane": "model", "state": "Confirmed"}, 1.0)]
        assert {labels["plane"]: value for labels, value in found["backstay_agent_step_in_flight"]} == {
            "model": 0.0,
            "config": 0.0,
        }
        assert found["backstay_agent_info"][0][0]["node"] == node
        assert found["backstay_agent_api_age_seconds"][0][1] < 75
        assert {name for name in found if f"`{name}`" not in REFERENCE} == set()

        sandbox.scrape(namespace, url.removeprefix("http://").partition("/")[0])
        async with asyncio.timeout(30):
            while not (result := await asked(session, sandbox.prometheus_url, QUERY.format(namespace))):
                await asyncio.sleep(0.2)
        assert float(result[0]["value"][1]) > 1024 * 1024
        sandbox.scrape_no_more(namespace)

        await kube.delete(EDGE_DEVICES, DEVICE, namespace)
        async with asyncio.timeout(20):
            while "backstay_device_info" in (found := await scraped(session, url)):
                await asyncio.sleep(0.1)
        assert "backstay_agent_info" in found
