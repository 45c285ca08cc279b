"""Write, or check, the import graph in the architecture page: measured from the code, so that the page stays true.

python scripts/import_graph.py [--check]
"""

import sys
from pathlib import Path

import grimp

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
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    wanted = before + drawn(grimp.build_graph("backstay", cache_dir=None)) + after
    if text == wanted:
        return 0
    if "--check" in sys.argv:
        sys.stderr.write(f"{PAGE}: the import graph is out of date; run: python scripts/import_graph.py\n")
        return 1
    PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
