"""Where the checker finds things, and what each artifact's bytes are: written down by the demo before the first act."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PLANES: Final = ("firmware", "model", "config")
ACT_OF_BOXES: Final = 7


@dataclass(frozen=True, slots=True)
class Context:
    """The checker's way to the systems."""

    kubectl: Path
    kubeconfig: Path
    namespace: str
    plan: str
    prometheus: str
    alertmanager: str
    audit_log: Path
    flash: Path
    """The directory with a flash file for each device."""
    artifacts: dict[str, dict[str, str]]
    """The payload file of each plane and version."""
    evidence: Path
    """Where evidence is kept from act to act."""
    boxes: dict[str, dict[str, str]]
    """For each Linux node what its agent keeps (`data`), and where its Pod answers (`url`)."""
    box_plan: str
    """The plan of the boxes, which act 7 is about."""

    @classmethod
    def load(cls, file: Path) -> "Context":
        """Read the file that the demo wrote."""
        said = json.loads(file.read_text(encoding="utf-8"))
        return cls(
            kubectl=Path(said["kubectl"]),
            kubeconfig=Path(said["kubeconfig"]),
            namespace=said["namespace"],
            plan=said["plan"],
            prometheus=said["prometheus"],
            alertmanager=said["alertmanager"],
            audit_log=Path(said["audit_log"]),
            flash=Path(said["flash"]),
            artifacts=said["artifacts"],
            evidence=Path(said["evidence"]),
            boxes=said["boxes"],
            box_plan=said["box_plan"],
        )

    def plan_of(self, act: int) -> str:
        """The plan that an act is about."""
        return self.box_plan if act == ACT_OF_BOXES else self.plan

    def contents(self) -> dict[str, dict[str, str]]:
        """The content digest of each plane and version, from the artifacts' own bytes."""
        return {
            plane: {version: _digest(Path(file)) for version, file in versions.items()}
            for plane, versions in self.artifacts.items()
        }


def _digest(file: Path) -> str:
    return f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
