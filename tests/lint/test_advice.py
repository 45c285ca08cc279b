import pytest

from tests.lint.manifests import GROUP, HOLD, PLAN, RULE, said_of


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("  health: [inference]\n", "", "spec: the plan names no health"),
        (PLAN[PLAN.index("  rings:") :], "", "spec: the plan names no rings"),
        ("size: 10%", "size: 100%", "spec.rings[1]: ring canary takes every device, so nothing is left for everyone"),
        ("size: 100%", "size: 50%", "spec.rings[1].size: the last ring ends at 50%"),
        ("10%, soak: 10m", "10%, soak: 0s", "spec.rings[0].soak: ring canary is not watched at all"),
        ("size: 10%", "size: 10%, maxFailed: 100%", "spec.rings[0].maxFailed: ring canary passes though every"),
        (
            "model: {",
            f'firmware: {{version: 1.0.0, artifact: "registry.example/model@sha256:{"a" * 64}"}}\n    model: {{',
            "spec.versions.firmware.artifact: two planes name the same artifact",
        ),
    ],
)
def test_plan_is_asked_about(before: str, after: str, said: str) -> None:
    assert before in PLAN
    assert any(f"warning: {said}" in found for found in said_of(GROUP, RULE, PLAN.replace(before, after)))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (", until: 2026-02-02T00:00:00Z", "", "spec: the hold has no until"),
        ("2026-02-02", "2026-01-02", "spec.until: the hold was over at 2026-01-02 00:00Z"),
    ],
)
def test_hold_is_asked_about(before: str, after: str, said: str) -> None:
    (found,) = said_of(GROUP, HOLD.replace(before, after))
    assert f"warning: {said}" in found


def test_hold_of_a_version_stands_as_long_as_it_must() -> None:
    versions = f"versions: [{{plane: model, digest: 'sha256:{'a' * 64}'}}]"
    assert said_of(HOLD.replace("scope: {groups: [cameras]}, until: 2026-02-02T00:00:00Z", versions)) == []
