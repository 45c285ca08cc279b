"""Argo CD's own engine for scripts, with the standard libraries off, as it runs them in production."""

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from backstay.sandbox.build import lua_engine

Json = dict[str, Any]


class ScriptFailedError(Exception):
    """What the engine says of a script or of what it returned."""


@dataclass
class Engine:
    """Runs scripts, one after another."""

    process: "subprocess.Popen[str]"

    @classmethod
    def start(cls) -> "Engine":
        return cls(subprocess.Popen([lua_engine()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))

    def close(self) -> None:
        self.process.communicate()

    def health(self, script: str, found: Json) -> Json:
        return dict(self._run("health", script, found))

    def actions(self, script: str, found: Json) -> dict[str, bool]:
        """Each action by its name, and whether it is offered."""
        return {one["name"]: not one.get("disabled", False) for one in self._run("discovery", script, found)}

    def act(self, script: str, found: Json) -> Json:
        """The object as Argo CD would write it."""
        return dict(self._run("action", script, found))

    def _run(self, kind: str, script: str, found: Json) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps({"kind": kind, "script": script, "object": found}), file=self.process.stdin, flush=True)
        said = json.loads(self.process.stdout.readline())
        if "error" in said:
            raise ScriptFailedError(said["error"])
        return said.get("result")
