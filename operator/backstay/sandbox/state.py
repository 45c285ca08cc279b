"""What another process needs to know about a running sandbox: which processes it has, and where they answer."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from backstay.sandbox.endpoint import Endpoint
from backstay.sandbox.process import Identity

FILE = "state.json"


@dataclass(frozen=True, slots=True)
class Component:
    """A process of a sandbox as seen from outside."""

    name: str
    endpoint: Endpoint
    log: str
    process: Identity | None


@dataclass(frozen=True, slots=True)
class State:
    """A sandbox as its state file describes it. The file lies with the data and so is never older than they are."""

    owner: Identity | None
    """The process that ends the sandbox when it is itself asked to end; None once the sandbox stands alone."""
    directory: str
    kubeconfig: str
    kubectl: str
    api_url: str
    ca: str
    prometheus_url: str
    alertmanager_url: str
    registry: str
    audit_log: str | None
    components: tuple[Component, ...]
    ready: bool

    @classmethod
    def load(cls, directory: Path) -> "State | None":
        """The sandbox that has its files in `directory`, or None if there is none."""
        return cls.of_data(directory / "data")

    @classmethod
    def of_data(cls, data: Path) -> "State | None":
        """The sandbox that stores in `data`, or None if it has not said anything about itself."""
        try:
            document = json.loads((data / FILE).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        components = tuple(map(_component, document.pop("components")))
        return cls(
            **{
                **document,
                "owner": _identity(document["owner"]),
                "components": components,
            }
        )

    def save(self, data: Path) -> None:
        """Write the state file in one step."""
        temporary = data / f"{FILE}.new"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file)
        temporary.replace(data / FILE)

    def processes(self) -> tuple[Identity, ...]:
        """Every process that is still there, the owner first, then the components in the order of their start."""
        known = (self.owner, *(component.process for component in self.components))
        return tuple(process for process in known if process is not None and process.alive())

    def alive(self) -> bool:
        """Whether any process of this sandbox still runs."""
        return bool(self.processes())


def default_directory() -> Path:
    """Where `backstay sandbox up` puts a sandbox unless it is told otherwise."""
    state_home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state_home) / "backstay" / "sandbox"


def _component(document: dict[str, Any]) -> Component:
    endpoint, process = Endpoint(**document["endpoint"]), _identity(document["process"])
    return Component(document["name"], endpoint, document["log"], process)


def _identity(document: dict[str, int] | None) -> Identity | None:
    return None if document is None else Identity(**document)
