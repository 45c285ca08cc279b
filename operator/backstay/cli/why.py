"""`backstay why`: says why a plan or a device of the live cluster is where it is."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backstay.cli import names
from backstay.cli.caller import KubeconfigOption, NamespaceOption, context_namespace, kubeconfig_of_caller
from backstay.cli.output import Output, OutputOption, show

if TYPE_CHECKING:
    from backstay.api.releaseplan import PlaneVersion
    from backstay.cli.live import LiveNamespace
    from backstay.controllers.observing import Sight
    from backstay.controllers.resolution import Resolution
    from backstay.core.planes import Plane, Release


def why(
    name: Annotated[
        str, typer.Argument(help="Name of a ReleasePlan or an EdgeDevice.", autocompletion=names.plans_and_devices)
    ],
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Say why a plan or a device is where it is, and what to do next. Nothing is changed."""
    where = namespace or context_namespace(kubeconfig_of_caller(kubeconfig))
    kind, lines = asyncio.run(_why(name, where, kubeconfig))
    document = {"kind": kind, "name": name, "namespace": where, "reasons": lines}
    show(output, lambda: document, lambda: print(*lines, sep="\n"), [f"{kind.lower()}.backstay.dev/{name}"])


async def _why(name: str, namespace: str, kubeconfig: Path | None) -> tuple[str, list[str]]:
    """The kind of what is called so, and what is to be said of it."""
    from backstay.adapters.system_clock import SystemClock
    from backstay.cli.live import LiveNamespace
    from backstay.core.decide import decide
    from backstay.core.devices import DeviceName
    from backstay.core.why import explain_device, explain_plan
    from backstay.errors import NotFound

    now = SystemClock().now()
    live = await LiveNamespace.read(namespace, kubeconfig)
    plans = [plan for plan, _ in live.store.plans.of_namespace(namespace)]
    if name in plans:
        sight = _sight(live, name)
        if sight is None:
            return "ReleasePlan", [f"plan {name} has not started: {_told(live, name)}"]
        return "ReleasePlan", list(explain_plan(sight.observed, decide(sight.observed, now), now))
    device = DeviceName(name)
    if live.store.fleets.get(namespace, device) is None:
        raise NotFound(f"namespace {namespace} has neither a ReleasePlan nor an EdgeDevice called {name}")
    sights = [sight for plan in plans if (sight := _sight(live, plan)) is not None]
    mine = [sight for sight in sights if sight.observed.fleet.get(device) is not None]
    lines = [line for sight in mine for line in explain_device(sight.observed, device, now)]
    nothing = f"no plan of namespace {namespace} that has started has anything to do with {name}"
    return "EdgeDevice", lines if mine else [nothing]


def _sight(live: "LiveNamespace", plan: str) -> "Sight | None":
    """What a decision about a plan would look at; None before there is anything to decide on."""
    from backstay.api.state_conversion import verdicts_from
    from backstay.controllers.observing import Observer
    from backstay.controllers.resolution import Resolving

    seen = live.store.plans.get((live.name, plan))
    if seen is None or seen.model is None:
        return None
    observer = Observer((live.name, plan), live.store, live.snapshots, _NoRegistry(), lambda: None)
    sight = observer.observe(seen.model, verdicts_from(seen.model.status))
    return None if isinstance(sight, Resolving) else sight


def _told(live: "LiveNamespace", plan: str) -> str:
    """What the operator itself says of a plan."""
    seen = live.store.plans.get((live.name, plan))
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
