"""A release to many devices behind one bridge: `python -m tests.scale.release [DEVICES [POLL_SECONDS]]`.

A sandbox, the operator, one bridge and the simulated devices run as users start them. A model of 100 KiB and a config
go through three rings, so that each device takes two steps. Writes are counted from the API server's audit log; the
benchmark fails if a device had more than one spec write or two status writes in a step.
"""

# ruff: noqa: T201 - a benchmark prints its table
import asyncio
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from typing import Any, Final

import aiohttp

from backstay.adapters.kube.client import DEVICE_GROUPS, RELEASE_PLANS, KubeClient
from backstay.errors import Unavailable
from backstay.sandbox import Sandbox
from backstay.sandbox.state import State
from demo.processes import Processes
from tests.scale.measuring import machine
from tests.scale.released import NAMESPACES, PLAN, Tenant, plan, pushed, running
from tests.scale.serving import OUT, ROOT, cpu_seconds, resident_mib
from tests.scale.writes import Counts, counted, writes_in

Json = dict[str, Any]

NAMESPACE: Final = "large"
SOAK: Final = "5s"
STEPS: Final = 2
"""A model and a config."""
LEASE_SECONDS: Final = 15
ONE_PROCESS_FOR: Final = 5_000
"""So many devices at most in one simulator process."""
LOOK_SECONDS: Final = 2.0
ENDED: Final = frozenset({"Succeeded", "RolledBack", "Unresolved", "Halted"})
REQUESTS: Final = re.compile(r"^backstay_bridge_requests_total\{(.*)\} (\S+)$", re.MULTILINE)


@dataclass(slots=True)
class Watched:
    """Processes by name, and what each had used when the release began."""

    pids: Mapping[str, int]
    before: dict[str, float] = field(default_factory=dict)

    def begin(self) -> None:
        """Count from now on."""
        self.before = {name: cpu_seconds(pid) for name, pid in self.pids.items()}

    def used(self) -> dict[str, Json]:
        """CPU seconds since the beginning, resident memory now and at its peak."""
        return {
            name: {
                "cpu_seconds": round(cpu_seconds(pid) - self.before[name], 1),
                "resident_mib": round(resident_mib(pid)),
                "peak_mib": round(_peak_mib(pid)),
            }
            for name, pid in self.pids.items()
        }


def _peak_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


async def measured(count: int, poll_seconds: int) -> tuple[Json, Counts]:
    """Run it all; gives the report and the writes."""
    directory = ROOT / "build" / "bench" / f"release-{count}-{time.strftime('%H%M%S')}"
    tenant = Tenant(NAMESPACE, count)
    async with (
        Sandbox.start(directory / "sandbox", audit_bodies=False) as sandbox,
        KubeClient.connect(sandbox.kubeconfig) as kube,
    ):
        assert sandbox.audit_log is not None
        await sandbox.apply(ROOT / "crds")
        await sandbox.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(ROOT / "crds"))
        for manifest in sorted(ROOT.glob("manifests/*.yaml")):
            await sandbox.apply(manifest)
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        await kube.create(NAMESPACES, namespace)
        began = time.monotonic()
        await tenant.prepare(sandbox, kube)
        print(f"  {count:,} EdgeDevices were created in {time.monotonic() - began:.0f} s", flush=True)
        artifacts = await pushed(sandbox, directory)
        simulators = -(-count // ONE_PROCESS_FOR)
        async with running(
            sandbox, tenant, directory, poll_seconds=poll_seconds, simulators=simulators, lease_seconds=LEASE_SECONDS
        ) as (processes, pids, bridge):
            watched = Watched({**pids, **_of_sandbox(directory / "sandbox")})
            watched.begin()
            began = time.monotonic()
            await _until_ready(kube, count, processes)
            first = time.monotonic() - began
            print(f"  all have reported after {first:.0f} s: {_used(watched.used())}", flush=True)
            watched.begin()
            polls = await _requests(bridge)
            began = time.monotonic()
            await kube.create(RELEASE_PLANS, plan(*artifacts, soak=SOAK), NAMESPACE)
            phases, status = await _until_over(kube, processes, began, count)
            took = time.monotonic() - began
            used = watched.used()
            requests = await _requests(bridge) - polls
        writes = await asyncio.to_thread(lambda: counted(writes_in(sandbox.audit_log, NAMESPACE)))  # type: ignore[arg-type]
        if not writes.excess(STEPS):
            sandbox.audit_log.unlink()
    report = {
        "machine": machine(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "devices": count,
        "poll_seconds": poll_seconds,
        "first_reports_seconds": round(first),
        "release_seconds": round(took),
        "phases": phases,
        "rings": status["rings"],
        "phase": status["phase"],
        "processes": used,
        "requests": dict(requests),
        "writes": _told(writes, count),
    }
    return report, writes


def _of_sandbox(directory: Path) -> dict[str, int]:
    state = State.load(directory)
    assert state is not None
    wanted = ("kube-apiserver", "etcd")
    return {one.name: one.process.pid for one in state.components if one.name in wanted and one.process}


async def _until_ready(kube: KubeClient, count: int, processes: Processes) -> None:
    """Until the group counts every device as ready."""
    ready = 0
    async with asyncio.timeout(120 + count / 10):
        while ready < count:
            await asyncio.sleep(LOOK_SECONDS)
            processes.check()
            ready = (await kube.get(DEVICE_GROUPS, "cameras", NAMESPACE)).get("status", {}).get("ready", 0)


async def _until_over(kube: KubeClient, processes: Processes, began: float, count: int) -> tuple[list[Json], Json]:
    """Until the release has ended; gives when it was in which phase, and its last status."""
    phases: list[Json] = []
    status: Json = {}
    async with asyncio.timeout(600 + count / 2):
        while status.get("phase") not in ENDED:
            await asyncio.sleep(LOOK_SECONDS)
            processes.check()
            try:
                status = (await kube.get(RELEASE_PLANS, PLAN, NAMESPACE)).get("status", {})
            except Unavailable as error:
                print(f"  the plan cannot be read now: {error}", flush=True)
                continue
            now = {"phase": status.get("phase", ""), "ring": status.get("ring", "")}
            if not phases or now != {"phase": phases[-1]["phase"], "ring": phases[-1]["ring"]}:
                phases.append({"seconds": round(time.monotonic() - began), **now})
                print(f"  {phases[-1]['seconds']:5} s  {now['phase']} {now['ring']}", flush=True)
    return phases, status


async def _requests(bridge: str) -> Counter[str]:
    """What the bridge has answered so far, by its own count."""
    async with aiohttp.ClientSession() as session, session.get(f"{bridge}/metrics") as response:
        text = await response.text()
    return Counter({labels: int(float(value)) for labels, value in REQUESTS.findall(text)})


def _told(writes: Counts, count: int) -> Json:
    """Writes a device and step; step 0 is before any order."""
    return {
        "spec": _spread([writes.spec[name] / STEPS for name in writes.spec]),
        "status": {str(step): _spread(writes.in_step(step)) for step in range(STEPS + 1)},
        "devices": {"ordered": len(writes.spec), "all": count},
        "all": sum(writes.spec.values()) + sum(writes.status.values()),
        "refused": writes.refused,
    }


def _spread(found: Sequence[float]) -> Json:
    return {"mean": round(mean(found), 3) if found else 0, "max": max(found, default=0)}


def _used(used: Mapping[str, Json]) -> str:
    return ", ".join(f"{name} {one['cpu_seconds']:.0f} s {one['resident_mib']} MiB" for name, one in used.items())


def main(count: int, poll_seconds: int) -> None:
    """Run it, print, write `build/bench/release-N.json`, and fail if there were too many writes."""
    OUT.mkdir(parents=True, exist_ok=True)
    print(f"\na release to {count:,} devices behind one bridge, which poll every {poll_seconds} s", flush=True)
    report, writes = asyncio.run(measured(count, poll_seconds))
    excess = writes.excess(STEPS)
    report["excess"] = excess[:100]
    (OUT / f"release-{count}.json").write_text(json.dumps(report, indent=2) + "\n")
    print(f"  {report['phase']} after {report['release_seconds']} s")
    for name, one in report["processes"].items():
        print(f"  {name:20}{one['cpu_seconds']:9.1f} CPU s{one['resident_mib']:8} MiB, at most {one['peak_mib']} MiB")
    print(f"  writes: {json.dumps(report['writes'])}")
    print(f"  requests: {json.dumps(report['requests'])}")
    for ring in report["rings"]:
        print(f"  ring {ring['name']}: {ring['confirmed']:,} confirmed of {ring['target']:,}, {ring['failed']} failed")
    if report["phase"] != "Succeeded":
        sys.exit(f"the release ended {report['phase']}")
    if excess:
        sys.exit(f"{len(excess)} times too many writes: {'; '.join(excess[:5])}")


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    main(*(arguments + [10_000, 60][len(arguments) :]))
