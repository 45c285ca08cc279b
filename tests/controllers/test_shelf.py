"""The newest version of an object wins, wherever it comes from, and nothing that is gone stays."""

from typing import Any

from backstay.api import Hold
from backstay.controllers.shelf import Shelf

Json = dict[str, Any]


def hold(name: str, version: str, **spec: object) -> Json:
    return {
        "kind": "Hold",
        "metadata": {"name": name, "namespace": "acme", "resourceVersion": version},
        "spec": {"versions": [{"plane": "model", "digest": f"sha256:{'a' * 64}"}], "reason": "it hangs", **spec},
    }


def shelf() -> tuple[Shelf[Hold], list[tuple[str, str]]]:
    changed: list[tuple[str, str]] = []
    return Shelf(Hold, lambda namespace, name: changed.append((namespace, name))), changed


def test_shelf_keeps_the_newer_version_when_an_older_one_comes_late() -> None:
    kept, changed = shelf()
    kept.put(hold("a", "10", reason="newer"))
    kept.put(hold("a", "9", reason="older"))
    seen = kept.get(("acme", "a"))
    assert seen is not None
    assert seen.model is not None
    assert seen.model.spec.reason == "newer"
    assert changed == [("acme", "a")]


def test_shelf_forgets_what_a_complete_list_lacks() -> None:
    kept, changed = shelf()
    kept.put(hold("a", "5"))
    kept.put(hold("b", "6"))
    kept.sweep([hold("b", "6")], "20")
    assert [name for name, _ in kept.of_namespace("acme")] == ["b"]
    assert changed[-1] == ("acme", "a")


def test_shelf_keeps_what_was_made_after_the_list() -> None:
    kept, _ = shelf()
    kept.put(hold("a", "21"))
    kept.sweep([], "20")
    assert kept.get(("acme", "a")) is not None


def test_shelf_says_what_is_wrong_when_an_object_cannot_be_read() -> None:
    kept, _ = shelf()
    kept.put(hold("a", "5", surprise=True))
    seen = kept.get(("acme", "a"))
    assert seen is not None
    assert seen.model is None
    assert "spec.surprise: unknown field" in seen.problem
