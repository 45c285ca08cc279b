"""The page of the real operator: real tokens, real rights, a real plan, and a real browser that watches it."""

import re
from pathlib import Path
from typing import Any

import aiohttp

from backstay.adapters.kube.client import HEALTH_RULES, KubeClient
from backstay.core.planes import Plane
from backstay.sandbox import Sandbox
from tests.cluster.guide_shell import ROOT, TENANT, GuideShell
from tests.cluster.operator_stage import Devices, Operator, Plan, applied, plan, push, ring, running_operator
from tests.guides import blocks
from tests.web.browsing import browsing

GUIDE = (ROOT / "docs" / "how-to" / "watch-on-the-page.md").read_text(encoding="utf-8")
# A browser and a second operator take their share of two cores.
OPTIONS = ("--page-listen", "127.0.0.1:0", "--lease-duration", "10")
RINGS = [ring("canary", size=1), ring("everyone", size="100%", approval="Manual", inFlight="100%")]
SIGNAL = {
    "name": "fleet",
    "blames": ["model"],
    "query": "sum(backstay_device_info{${scope}}) or vector(0.9)",
    "min": "0.5",
}


def guide(namespace: str, address: str = "http://127.0.0.1:8443") -> list[str]:
    """The guide's commands, for the namespace and the address of a test."""
    found = blocks(GUIDE, "sh")
    return [block.replace(f"{TENANT}:", f"{namespace}:").replace("http://127.0.0.1:8443", address) for block in found]


async def address_of(operator: Operator) -> str:
    await operator.hears("the page is served at")
    found = re.search(r"the page is served at (http://[\d.:]+)", operator.said)
    assert found is not None
    return found.group(1)


async def seen(address: str, path: str, token: str) -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as session, session.get(address + path) as answer:
        return answer.status, await answer.text()


async def health_rule(kube: KubeClient, namespace: str) -> None:
    document: dict[str, Any] = {
        "apiVersion": "backstay.dev/v1alpha1",
        "kind": "HealthRule",
        "metadata": {"name": "inference"},
        "spec": {"interval": "1s", "signals": [SIGNAL]},
    }
    await kube.create(HEALTH_RULES, document, namespace)


async def test_person_watches_a_release_and_sees_what_is_theirs_alone(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    shell = GuideShell(sandbox, namespace, tmp_path)
    let_in, allow_the_page, make_token, ask_as_a_proxy = guide(namespace)
    await shell.run(let_in, allow_the_page)
    token = (await shell.run(make_token)).strip()
    await sandbox.kubectl("create", "serviceaccount", "mallory", "-n", namespace)
    stranger = (await sandbox.kubectl("create", "token", "mallory", "-n", namespace)).strip()
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    async with running_operator(sandbox, tmp_path, *OPTIONS) as operator:
        address = await address_of(operator)
        await operator.hears("reconciling")
        await health_rule(kube, namespace)
        vision = await applied(kube, namespace, plan("vision", model, rings=RINGS, health=["inference"]))
        await vision.until(lambda found: (found.get("summary") or {}).get("health") == "WaitingForApproval")

        status, text = await seen(address, f"/{namespace}/plans/vision", token)
        assert status == 200
        assert "ring everyone waits for approval" in text
        assert f"backstay approve vision -n {namespace}" in text
        assert "RevisionStarted" in text, "Events of the plan"
        assert "0.9 is within its limits" in text
        assert 'class="limit-line"' in text, "the graph, by the real Prometheus"
        status, text = await seen(address, f"/{namespace}/devices/{fleet.orders[0][0]}", token)
        assert status == 200
        assert "model: Confirmed" in text
        assert "ring canary" in text
        assert (await seen(address, "/", "wrong"))[0] == 401
        status, text = await seen(address, "/", stranger)
        assert (status, f"/{namespace}" in text) == (200, False)
        assert (await seen(address, f"/{namespace}/plans/vision", stranger))[0] == 404
        assert (await seen(address, "/kube-system", token))[0] == 404
        assert "<h1>" in await shell.run(guide(namespace, address)[3])
        assert ask_as_a_proxy.startswith("curl")

        async with running_operator(sandbox, tmp_path, *OPTIONS) as standby:
            status, text = await seen(await address_of(standby), "/", token)
        assert (status, "leads" in text) == (503, True)

        await watched(address, namespace, token, vision)


async def watched(address: str, namespace: str, token: str, vision: Plan) -> None:
    """Sign in with a browser, and see the last ring fill once a person has approved it."""
    async with browsing(address) as tab:
        await tab.page.goto(f"{address}/{namespace}/plans/vision")
        await tab.page.get_by_label("Token").fill(token)
        await tab.page.keyboard.press("Enter")
        await tab.is_live()
        everyone = tab.page.get_by_role("row").filter(has_text="everyone")
        await everyone.get_by_text("0/5").wait_for()
        await vision.ask("approve", "everyone")
        await everyone.get_by_text("5/5").wait_for()
        await tab.page.get_by_role("heading", name="Succeeded").wait_for()
