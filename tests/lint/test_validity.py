import pytest

from tests.lint.manifests import GROUP, HOLD, PLAN, RULE, said_of


@pytest.mark.parametrize(
    ("text", "before", "after", "said"),
    [
        (
            PLAN,
            "  rings:",
            "  rollback: {autmatic: false}\n  rings:",
            "9:14: error: spec.rollback.autmatic: unknown field",
        ),
        (
            PLAN,
            "  rings:",
            "  stability_window: 1h\n  rings:",
            "9:3: error: spec.stability_window: unknown field; did you mean stabilityWindow?",
        ),
        (
            PLAN,
            "{name: vision}",
            "{name: vision, lables: {a: b}}",
            "3:26: error: metadata.lables: unknown field; did you mean labels?",
        ),
        (PLAN, "vision", "Vision", "3:18: error: metadata.name: 'Vision' is no object's name"),
        (
            PLAN,
            "{name: vision}",
            "{name: vision, labels: {a: b c}}",
            "3:38: error: metadata.labels.a: 'b c' is no label's",
        ),
        (PLAN, "{name: vision}", "{}", "3:1: error: metadata.name: is required"),
        (PLAN, "size: 10%", "size: 10%, min: '2'", "error: spec.rings[0].min: must be of type integer, and '2' is not"),
        (
            PLAN,
            "ReleasePlan",
            "ReleasePlans",
            "2:7: error: kind: there is no kind ReleasePlans in backstay.dev/v1alpha1; did you mean ReleasePlan?",
        ),
        (PLAN, "v1alpha1", "v1", "1:13: error: apiVersion: there is no backstay.dev/v1; write backstay.dev/v1alpha1"),
        (PLAN, "backstay.dev", "backstay.io", "1:13: warning: apiVersion: the ReleasePlan of backstay.io/v1alpha1"),
        (RULE, "avg(", "avg((", "9:12: error: spec.signals[0].query: the query cannot be parsed"),
        (RULE, "${scope}", 'a="${scope}"', "9:12: error: spec.signals[0].query: ${scope} does not stand in a selector"),
        (HOLD, "{groups: [cameras]}", "{groups: [cameras], devices: [a]}", "4:26: error: spec.scope: exactly one of"),
        (GROUP, "spec: {selector: {}}", "", "1:1: error: spec: is required"),
        (GROUP, "{selector: {}}", "3", "4:7: error: spec: must be an object"),
    ],
)
def test_document_is_refused_where_it_is_wrong(text: str, before: str, after: str, said: str) -> None:
    assert before in text
    assert any(said in found for found in said_of(text.replace(before, after)))


def test_object_whose_name_is_made_up_by_the_server_is_right() -> None:
    assert said_of(GROUP.replace("{name: cameras}", "{generateName: cameras-}")) == []


def test_kinds_of_others_are_nobodys_business() -> None:
    assert said_of("apiVersion: v1\nkind: ConfigMap\nmetadata: {lables: 3}\n", "just: words\n") == []
