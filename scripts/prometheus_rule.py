"""Makes manifests/monitoring/prometheusrule.yaml of the rules beside it; `--check` fails where it is out of date."""

import sys
from pathlib import Path

HOME = Path(__file__).parents[1] / "manifests" / "monitoring"
RULES = HOME / "rules.yaml"
WRITTEN = HOME / "prometheusrule.yaml"
HEAD = """\
# The alerts of rules.yaml for the Prometheus Operator. Made by scripts/prometheus_rule.py; edit rules.yaml.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: backstay
  namespace: backstay-system
  labels: {app.kubernetes.io/part-of: backstay}
spec:
"""


def prometheus_rule() -> str:
    """The whole file."""
    text = RULES.read_text(encoding="utf-8")
    groups = text[text.index("groups:") :]
    return HEAD + "".join(f"  {line}" if line.strip() else line for line in groups.splitlines(keepends=True))


def main() -> None:
    """Write the file, or compare it."""
    if "--check" not in sys.argv:
        WRITTEN.write_text(prometheus_rule(), encoding="utf-8")
    elif not WRITTEN.exists() or WRITTEN.read_text(encoding="utf-8") != prometheus_rule():
        sys.exit(f"{WRITTEN} is out of date: python scripts/prometheus_rule.py")


if __name__ == "__main__":
    main()
