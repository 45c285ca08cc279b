"""`backstay why`: says why a plan or a device of the live cluster is where it is."""

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from backstay.adapters.kube.client import KubeClient
    from backstay.api.releaseplan import PlaneVersion
    from backstay.controllers.observing import Sight
    from backstay.controllers.resolution import Resolution
    from backstay.core.planes import Plane, Release


def why(
    name: Annotated[str, typer.Argument(help="Name of a ReleasePlan or an EdgeDevice.")],
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Namespace to look in.")] = "default",
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Identity to use; without it $KUBECONFIG, or ~/.kube/config.")
    ] = None,
) -> None:
    """Say why a plan or a device is where it is, and what to do next. Nothing is changed."""
    found = kubeconfig or Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")
    asyncio.run(_why(name, namespace, found))


async def _why(name: str, namespace: str, kubeconfig: Path) -> None:
    from backstay.adapters.kube.client import KubeClient
    from backstay.adapters.system_clock import SystemClock
    from backstay.core.decide import decide
    from backstay.core.devices import DeviceName
    from backstay.core.why import explain_device, explain_plan
    from backstay.errors import NotFound

    now = SystemClock().now()
    async with KubeClient.connect(kubeconfig) as kube:
        cluster = await _Cluster.read(kube, namespace)
    if name in cluster.plans():
        sight = cluster.sight(name)
        if sight is None:
            print(f"plan {name} has not started: {cluster.told(name)}")
            return
        _say(explain_plan(sight.observed, decide(sight.observed, now), now))
    elif cluster.has_device(name):
        sights = [sight for plan in cluster.plans() if (sight := cluster.sight(plan)) is not None]
        mine = [sight for sight in sights if sight.observed.fleet.get(DeviceName(name)) is not None]
        if not mine:
            print(f"no plan of namespace {namespace} that has started has anything to do with {name}")
        for sight in mine:
            _say(explain_device(sight.observed, DeviceName(name), now))
    else:
        raise NotFound(f"namespace {namespace} has neither a ReleasePlan nor an EdgeDevice called {name}")


class _Cluster:
    """One namespace as the operator would see it, read once, with the rights of whoever asks."""

    def __init__(self, kube: "KubeClient", namespace: str) -> None:
        from backstay.controllers.failpoints import Failpoints
        from backstay.controllers.snapshots import Snapshots
        from backstay.controllers.store import Store

        self._namespace = namespace
        self._store = Store()
        self._snapshots = Snapshots(kube, Failpoints())

    @classmethod
    async def read(cls, kube: "KubeClient", namespace: str) -> "_Cluster":
        from backstay.adapters.kube.client import EDGE_DEVICES
        from backstay.api.device_conversion import device_from

        cluster = cls(kube, namespace)
        for resource, shelf in cluster._store.shelves.items():
            for raw in await kube.list(resource, namespace):
                shelf.put(raw)
        for raw in await kube.list(EDGE_DEVICES, namespace):
            cluster._store.fleets.put((namespace, device_from(raw)))
        uids = {key: seen.raw["metadata"]["uid"] for key, seen in cluster._store.plans.all()}
        await cluster._snapshots.load(uids, namespace)
        return cluster

    def plans(self) -> list[str]:
        return [name for name, _ in self._store.plans.of_namespace(self._namespace)]

    def has_device(self, name: str) -> bool:
        from backstay.core.devices import DeviceName

        return self._store.fleets.get(self._namespace, DeviceName(name)) is not None

    def sight(self, plan: str) -> "Sight | None":
        """What a decision about a plan would look at; None before there is anything to decide on."""
        from backstay.api.state_conversion import verdicts_from
        from backstay.controllers.observing import Observer
        from backstay.controllers.resolution import Resolving

        seen = self._store.plans.get((self._namespace, plan))
        if seen is None or seen.model is None:
            return None
        observer = Observer((self._namespace, plan), self._store, self._snapshots, _NoRegistry(), lambda: None)
        sight = observer.observe(seen.model, verdicts_from(seen.model.status))
        return None if isinstance(sight, Resolving) else sight

    def told(self, plan: str) -> str:
        """What the operator itself says of a plan."""
        seen = self._store.plans.get((self._namespace, plan))
        if seen is None or seen.model is None:
            return "it cannot be read" if seen is None else seen.problem
        conditions = {one.type: one for one in seen.model.status.conditions}
        ready = conditions.get("Ready")
        return ready.message if ready is not None and ready.message else "the operator has not looked at it yet"


class _NoRegistry:
    """Resolves nothing: what runs is on record, and what is not cannot be explained without the operator."""

    def look_up(
        self,
        versions: Mapping["Plane", "PlaneVersion"],
        device_class: str,
        declared: Callable[[str], "Release | None"],
        wake: Callable[[], None],
    ) -> "Resolution":
        from backstay.controllers.resolution import Resolving

        del versions, device_class, declared, wake
        return Resolving()


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)
