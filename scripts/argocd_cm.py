"""Makes manifests/argocd/argocd-cm.yaml of the scripts beside it; `--check` fails where it is out of date."""

import sys
from pathlib import Path

HOME = Path(__file__).parents[1] / "manifests" / "argocd"
SCRIPTS = HOME / "resource_customizations" / "backstay.dev"
WRITTEN = HOME / "argocd-cm.yaml"
GROUP = "backstay.dev"
HEAD = """\
# What Argo CD has to know of Backstay's kinds: merge it into the ConfigMap argocd-cm of its namespace.
# Made by scripts/argocd_cm.py of the files in resource_customizations/, which Argo CD takes in this layout, too.
apiVersion: v1
kind: ConfigMap
metadata:
  name: argocd-cm
  namespace: argocd
  labels: {app.kubernetes.io/part-of: argocd}
data:
"""


def config_map() -> str:
    """The whole file."""
    parts = [HEAD]
    for kind in sorted(path.name for path in SCRIPTS.iterdir()):
        health = (SCRIPTS / kind / "health.lua").read_text()
        parts.append(f"  resource.customizations.health.{GROUP}_{kind}: |\n{_indented(health, 4)}")
        actions = SCRIPTS / kind / "actions"
        if actions.is_dir():
            parts.append(f"  resource.customizations.actions.{GROUP}_{kind}: |\n{_indented(_actions(actions), 4)}")
    return "".join(parts)


def _actions(folder: Path) -> str:
    parts = [f"discovery.lua: |\n{_indented((folder / 'discovery.lua').read_text(), 2)}definitions:\n"]
    parts += [
        f"- name: {script.parent.name}\n  action.lua: |\n{_indented(script.read_text(), 4)}"
        for script in sorted(folder.glob("*/action.lua"))
    ]
    return "".join(parts)


def _indented(text: str, by: int) -> str:
    return "".join(f"{' ' * by}{line}\n" if line else "\n" for line in text.splitlines())


def main() -> None:
    """Write the file, or say that it is out of date."""
    if "--check" not in sys.argv:
        WRITTEN.write_text(config_map())
    elif WRITTEN.read_text() != config_map():
        sys.exit(f"{WRITTEN} is out of date: python scripts/argocd_cm.py")


if __name__ == "__main__":
    main()
