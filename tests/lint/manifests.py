"""Manifests for the tests, short enough to be read."""

from datetime import UTC, datetime

from backstay.lint.checking import check

NOW = datetime(2026, 2, 1, tzinfo=UTC)
DIGEST = "a" * 64
HEAD = "apiVersion: backstay.dev/v1alpha1\n"

GROUP = f"""{HEAD}kind: DeviceGroup
metadata: {{name: cameras}}
spec: {{selector: {{}}}}
"""

RULE = f"""{HEAD}kind: HealthRule
metadata: {{name: inference}}
spec:
  interval: 30s
  signals:
  - name: latency
    blames: [model]
    query: avg(m * on(namespace, device) group_left() backstay_device_info{{${{scope}}}})
    max: "0.1"
  probes:
  - {{name: camera, kind: InputPresent, input: camera0, within: 90s, blames: [model]}}
"""

PLAN = f"""{HEAD}kind: ReleasePlan
metadata: {{name: vision}}
spec:
  groups: [cameras]
  health: [inference]
  versions:
    model: {{version: 7.2.0, artifact: "registry.example/model@sha256:{DIGEST}"}}
  rings:
  - {{name: canary, size: 10%, soak: 10m}}
  - {{name: everyone, size: 100%, soak: 10m}}
"""

HOLD = f"""{HEAD}kind: Hold
metadata: {{name: seven}}
spec: {{reason: incident, scope: {{groups: [cameras]}}, until: 2026-02-02T00:00:00Z}}
"""


def said_of(*texts: str) -> list[str]:
    """The findings on these documents in one file, as people read them."""
    return [str(found) for found in check([("f.yaml", "---\n".join(texts))], NOW).findings]
