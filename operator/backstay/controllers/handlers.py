"""kopf's part: it watches plans, groups, rules and holds, and every event only lets somebody look again.

Handlers return nothing and leave the patch alone, so that kopf never writes to an object: no finalizer
that would keep an object from going while the operator is away, no copy of the spec in an annotation.
"""

from typing import Any

import kopf

from backstay.adapters.kube.client import KubeClient, Resource
from backstay.controllers import kopf_error
from backstay.controllers.shelf import Shelf
from backstay.controllers.store import Store
from backstay.errors import BackstayError


def registry_for(store: Store, client: KubeClient) -> kopf.OperatorRegistry:
    """The handlers of every kind, and the login, which is our own client's."""
    registry = kopf.OperatorRegistry()
    for resource, shelf in store.shelves.items():
        _watch(registry, resource, shelf)

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        try:
            found = await client.credentials()
        except BackstayError as error:
            raise kopf_error(error) from error
        return kopf.ConnectionInfo(
            server=found.host,
            ca_path=found.ca_file,
            certificate_path=found.certificate_file,
            private_key_path=found.key_file,
            scheme="Bearer" if found.token else None,
            token=found.token,
            insecure=found.insecure,
        )

    return registry


def settings() -> kopf.OperatorSettings:
    """Kopf as a watcher and nothing else: it posts nothing and looks for no kinds but ours."""
    made = kopf.OperatorSettings()
    made.posting.enabled = False
    made.posting.loggers = False
    made.scanning.disabled = True
    made.process.ultimate_exiting_timeout = None
    made.watching.server_timeout = 240
    made.networking.request_timeout = 10
    return made


def _watch(registry: kopf.OperatorRegistry, resource: Resource, shelf: Shelf[Any]) -> None:
    @kopf.on.event(resource.group, resource.version, resource.plural, registry=registry)
    async def on_event(event: kopf.RawEvent, **_: Any) -> None:
        found: dict[str, Any] = dict(event["object"])
        if event["type"] == "DELETED":
            shelf.remove(found["metadata"].get("namespace", ""), found["metadata"]["name"])
        else:
            shelf.put(found)
