"""Write, or check, the import graph in the architecture page: measured from the code, so that the page stays true.

python scripts/import_graph.py [--check]
"""

from pathlib import Path

import grimp
from pages import keep_drawn

PAGE = Path(__file__).parent.parent / "docs" / "explanation" / "architecture.md"
BEGIN, END = "<!-- import graph: begin -->", "<!-- import graph: end -->"


def rooms(graph: grimp.ImportGraph) -> list[str]:
    """The packages directly below backstay, and nothing that is only a module there."""
    return sorted(child for child in graph.find_children("backstay") if graph.find_children(child))


def drawn(graph: grimp.ImportGraph) -> str:
    """A mermaid flowchart with one arrow for each pair of packages of which one imports the other."""
    names = rooms(graph)
    arrows = [
        f"    {importer.removeprefix('backstay.')} --> {imported.removeprefix('backstay.')}"
        for importer in names
        for imported in names
        if importer != imported and graph.direct_import_exists(importer=importer, imported=imported, as_packages=True)
    ]
    return "\n".join([BEGIN, "```mermaid", "flowchart LR", *arrows, "```", END])


def main() -> int:
    """Replace the graph in the page, or say that it is out of date."""
    return keep_drawn(
        PAGE,
        BEGIN,
        END,
        drawn(grimp.build_graph("backstay", cache_dir=None)),
        what="import graph",
        script="scripts/import_graph.py",
    )


if __name__ == "__main__":
    raise SystemExit(main())
