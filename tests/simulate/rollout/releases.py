"""A release as a person would write it, for simulations."""

from pathlib import Path

from backstay.simulate.rollout.documents import WrittenRelease, read_release
from backstay.simulate.rollout.faults import parse_faults
from backstay.simulate.rollout.fleets import fleet_for, known_releases
from backstay.simulate.rollout.record import Outcome
from backstay.simulate.rollout.world import Setting, play

A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
PLAN = f"""
apiVersion: backstay.dev/v1alpha1
kind: HealthRule
metadata: {{name: inference}}
spec:
  interval: 10s
  signals:
  - name: accuracy
    blames: [model, config]
    query: avg(backstay_inference_accuracy * on(namespace, device) group_left() backstay_device_info{{${{scope}}}})
    min: "0.90"
---
apiVersion: backstay.dev/v1alpha1
kind: ReleasePlan
metadata: {{name: vision, namespace: acme}}
spec:
  groups: [cameras]
  versions:
    firmware: {{version: 2.0.0, artifact: "registry.example/firmware@{A}"}}
    model: {{version: 3.0.0, artifact: "registry.example/model@{B}", requires: {{firmware: ">=2.0.0"}}}}
  health: [inference]
  rings:
  - {{name: canary, size: 2%, min: 2, soak: 30m, inFlight: 100%, rehearsal: {{devices: 1, breakOne: true}}}}
  - {{name: everyone, size: 100%, soak: 1h, approval: Manual}}
  stabilityWindow: 2h
"""
FLEET = """
devices:
- {name: old, count: 6, running: {firmware: 1.0.0, model: 1.0.0, config: 1.0.0}}
- {name: new, running: {firmware: "2.0.0@sha256:%s", model: 1.0.0}}
""" % ("a" * 64)


def release(directory: Path, text: str = PLAN) -> WrittenRelease:
    file = directory / "plan.yaml"
    file.write_text(text)
    return read_release(file)


def played(directory: Path, *faults: str, fleet: str = "100", text: str = PLAN, seed: int = 1) -> Outcome:
    found = release(directory, text)
    made = fleet_for(fleet, found)
    return play(
        Setting(
            found.plan,
            made.devices,
            known_releases(found, made),
            parse_faults(faults),
            found.holds,
            found.groups,
            found.reporting,
            found.probes,
            seed,
        )
    )
