"""The smallest merge patch that makes one JSON object of another.

Source: RFC 7386
"""

from typing import Any

Json = dict[str, Any]


def merge_patch(before: Json, after: Json) -> Json:
    """What to send so that `before` becomes `after`; empty where they are alike. None and absence are alike."""
    patch: Json = {}
    for key in before.keys() | after.keys():
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            if inner := merge_patch(old, new):
                patch[key] = inner
        elif isinstance(new, dict):
            patch[key] = without_nulls(new)
        elif old != new:
            patch[key] = new
    return patch


def without_nulls(value: Any) -> Any:  # noqa: ANN401 - JSON is any of six things
    """JSON without the members that are null, as the API server keeps it."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value
