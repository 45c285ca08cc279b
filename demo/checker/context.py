"""Where the checker finds things, and what each artifact's bytes are: written down by the demo before the first act."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PLANES: Final = ("firmware", "model", "config")
ACT_OF_BOXES: Final = 7
ACT_OF_THE_PLATFORM: Final = 8


@dataclass(frozen=True, slots=True)
class Platform:
    """Where act 8 finds what the team installs from, steers with, and looks at."""

    image: str
    """The digest that was pushed."""
    repository: Path
    """The bare Git repository."""
    plan_file: str
    """The path of the plan in it."""
    page: str
    ca: Path
    """Whose certificate vouches for the page's."""
    pictures: dict[str, Path]

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> "Platform":
        """Read what the demo wrote."""
        pictures = {name: Path(file) for name, file in said["pictures"].items()}
        paths = {name: Path(said[name]) for name in ("repository", "ca")}
        return cls(**{**said, **paths, "pictures": pictures})


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
    platform: Platform | None
    """None where there are no nodes to install anything on."""

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
            platform=Platform.from_json(said["platform"]) if said["platform"] else None,
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
