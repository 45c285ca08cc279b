"""The chart as helm renders it, for the tests of it."""

import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from backstay.sandbox.build import helm_binaries

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "backstay"
REQUIRED = CHART / "ci" / "required-values.yaml"
EVERYTHING = CHART / "ci" / "everything-values.yaml"
MONITORING = "--api-versions=monitoring.coreos.com/v1"
NAMESPACE = "backstay-system"

Manifest = dict[str, Any]


def helm(*arguments: str | Path, home: Path, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run helm; nothing of this machine's own settings reaches it."""
    environment = {"PATH": os.defpath, "HOME": str(home), "KUBECONFIG": str(kubeconfig or home / "none")}
    command = (str(helm_binaries() / "helm"), *map(str, arguments))
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)


def rendered(home: Path, *arguments: str | Path, values: Path = REQUIRED) -> str:
    """What `helm template` prints."""
    template = ("template", "backstay", CHART, f"--namespace={NAMESPACE}", f"--values={values}")
    done = helm(*template, *arguments, home=home)
    assert done.returncode == 0, done.stderr
    return done.stdout


def documents(text: str) -> list[Manifest]:
    """The objects of a text of YAML."""
    return [document for document in yaml.safe_load_all(text) if document]


def by_name(objects: list[Manifest]) -> dict[tuple[str, str, str], Manifest]:
    """Objects by kind, namespace and name, of which there is one each."""
    found = {(one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]): one for one in objects}
    assert len(found) == len(objects)
    return found
