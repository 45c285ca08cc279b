"""What `kubectl describe` tells the person who is paged: a plan that was taken back, by the real operator.

The page is `tests/golden/kubectl-describe.txt`. Where it differs and the difference is right, write what was printed.
"""

import os
import re
from pathlib import Path

from backstay.adapters.kube.client import KubeClient
from backstay.core.planes import Plane
from backstay.sandbox import Sandbox
from tests.cluster.operator_stage import Devices, applied, cameras, obeying, plan, push, running_operator

GOLDEN = Path(__file__).parents[1] / "golden" / "kubectl-describe.txt"
_DIFFERS = (
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)", "TIME"),
    (r"127\.0\.0\.1:\d+", "REGISTRY"),
    (r"sha256:[0-9a-f]{64}", "sha256:DIGEST"),
    (r"\b[0-9a-f]{10}-(\d+)\b", r"HASH-\1"),
    (r"(frozen-model-)[0-9a-f]{12}", r"\1DIGEST"),
    (r"(Hash:\s+)[0-9a-f]{10}", r"\1HASH"),
    (r"(UID:\s+)\S+", r"\1UID"),
    (r"((Resource Version|Generation):\s+)\d+", r"\1N"),
    (r"(?m)^  (Normal|Warning)\s+(\S+)\s+(?:<invalid>|\d+\w+(?: \(x\d+ over \d+\w+\))?)\s+\S+\s+", r"  \1  \2: "),
    (r"(?m)^  Type .*\n  ---- .*\n", ""),
)


def normalised(printed: str, namespace: str) -> str:
    """The page without what differs from one run to the next."""
    text = printed.replace(namespace, "acme")
    for pattern, instead in _DIFFERS:
        text = re.sub(pattern, instead, text)
    lines = [line.rstrip() for line in text.splitlines()]
    return "\n".join(lines).strip() + "\n"


async def test_kubectl_describe_tells_the_story_of_a_release_that_was_taken_back(
    sandbox: Sandbox, kube: KubeClient, namespace: str, tmp_path: Path
) -> None:
    fleet = Devices(kube, namespace)
    await cameras(kube, namespace)
    await fleet.create(*(f"cam-{number}" for number in range(6)), kind="camera")
    good = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    bad = await push(sandbox, tmp_path, Plane.MODEL, "2.0.0")
    fleet.breaks[bad.content] = "ProbeFailed: camera"
    async with obeying(fleet), running_operator(sandbox, tmp_path):
        vision = await applied(kube, namespace, plan("vision", good))
        await vision.reaches("Succeeded")
        await vision.edit(versions={"model": {"version": "2.0.0", "artifact": str(bad.reference)}})
        await vision.reaches("RolledBack")
        await vision.until(lambda status: "the model went back" in status["conditions"][0]["message"])
    printed = normalised(await sandbox.kubectl("describe", "releaseplan", "vision", "-n", namespace), namespace)
    if not GOLDEN.exists() and os.environ.get("BACKSTAY_WRITE_STORIES"):
        GOLDEN.write_text(printed, encoding="utf-8")
    assert printed == GOLDEN.read_text(encoding="utf-8")
