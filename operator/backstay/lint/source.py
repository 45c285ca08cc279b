"""YAML and JSON as kubectl reads them, with the place of every field.

Source: https://yaml.org/spec/1.1/ as `sigs.k8s.io/yaml` implements it: times stay text, and a key stands once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from backstay.lint.finding import Finding, Place, Severity

Path = tuple[int | str, ...]

MOST_NODES: Final = 100_000
"""More than any object that an API server takes; an alias can stand for thousands."""


class _Loader(yaml.SafeLoader):
    """Leaves times alone, as kubectl does."""

    yaml_implicit_resolvers: dict[str, Any] = {  # noqa: RUF012 - as the library declares it
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


@dataclass(frozen=True, slots=True)
class Written:
    """One document as it stands in a file."""

    file: str
    node: Node
    content: dict[str, Any]

    def place(self, path: Path) -> Place:
        """Where a field stands; of one that is not there, the nearest thing around it."""
        key, node = self.node, self.node
        for step in path:
            found = _inside(node, step)
            if found is None:
                break
            key, node = found
        mark = (node if isinstance(node, ScalarNode) else key).start_mark
        return _at(self.file, mark)

    def written(self, path: Path) -> Path:
        """As much of a path as is there."""
        node, found = self.node, list[int | str]()
        for step in path:
            inside = _inside(node, step)
            if inside is None:
                break
            found.append(step)
            node = inside[1]
        return tuple(found)

    def key(self, path: Path) -> Place:
        """Where the name of a field stands."""
        parent = self.node
        for step in path[:-1]:
            inside = _inside(parent, step)
            if inside is None:
                return self.place(path)
            parent = inside[1]
        found = _inside(parent, path[-1]) if path else None
        return self.place(path) if found is None else _at(self.file, found[0].start_mark)


def documents(file: str, text: str) -> Iterator[Written | Finding]:
    """The documents of a file, the items of a List each by itself, and what keeps others from being read."""
    try:
        loader = _Loader(text)
        while loader.check_node():
            yield from _read(file, loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, 1, 1) if mark is None else _at(file, mark)
        yield Finding(place, Severity.ERROR, "", f"this is neither YAML nor JSON: {error.problem or error.context}")
    except yaml.YAMLError as error:
        yield Finding(Place(file, 1, 1), Severity.ERROR, "", f"this is neither YAML nor JSON: {error}")


def _read(file: str, loader: _Loader) -> Iterator[Written | Finding]:
    node = loader.get_node()
    if node is None or node.tag == "tag:yaml.org,2002:null":
        return
    place = _at(file, node.start_mark)
    if _weighs_too_much(node):
        yield Finding(place, Severity.ERROR, "", f"the document has more than {MOST_NODES} values, aliases included")
        return
    if not isinstance(node, MappingNode):
        yield Finding(place, Severity.ERROR, "", "this is no object: an object has apiVersion, kind and metadata")
        return
    yield from (_twice(file, key) for key in _repeated(node))
    content = loader.construct_document(node)
    if content.get("kind") == "List" and isinstance(content.get("items"), list):
        yield from _items(file, node, content["items"])
    else:
        yield Written(file, node, content)


def _items(file: str, node: Node, contents: list[Any]) -> Iterator[Written | Finding]:
    for index, content in enumerate(contents):
        _, items = _inside(node, "items") or (node, node)
        _, item = _inside(items, index) or (items, items)
        if isinstance(content, dict):
            yield Written(file, item, content)
        else:
            yield Finding(_at(file, item.start_mark), Severity.ERROR, f"items[{index}]", "this is no object")


def _inside(node: Node, step: int | str) -> tuple[Node, Node] | None:
    """The key and the value of a part; an item of a list is its own key."""
    if isinstance(node, MappingNode):
        return next(((key, value) for key, value in node.value if key.value == step), None)
    if isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step]
    return None


def _repeated(node: Node) -> Iterator[ScalarNode]:
    seen: set[int] = set()
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, MappingNode):
            names: set[str] = set()
            for key, value in one.value:
                if isinstance(key, ScalarNode) and key.value in names and key.value != "<<":
                    yield key
                names.add(str(key.value))
                waiting.append(value)
        elif isinstance(one, SequenceNode):
            waiting.extend(one.value)


def _weighs_too_much(node: Node) -> bool:
    weight, waiting = 0, [node]
    while waiting and weight <= MOST_NODES:
        one = waiting.pop()
        weight += 1
        if isinstance(one, MappingNode):
            waiting.extend(value for _, value in one.value)
        elif isinstance(one, SequenceNode):
            waiting.extend(one.value)
    return weight > MOST_NODES


def _twice(file: str, key: ScalarNode) -> Finding:
    return Finding(_at(file, key.start_mark), Severity.ERROR, "", f"the key {key.value} stands twice")


def _at(file: str, mark: yaml.Mark) -> Place:
    return Place(file, mark.line + 1, mark.column + 1)
