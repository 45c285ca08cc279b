"""Tells the story: with a live picture of the rings in a terminal, in plain lines everywhere else."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from demo.scene import GOING_BACK, RingScene, Scene, told

BAR_CELLS: Final = 30
_COLOURS: Final = {"Pass": "green", "Fail": "red", "NoData": "yellow", "ProviderError": "yellow"}


class Narrator:
    """One voice: sentences go above the picture, and both stay when it ends."""

    def __init__(self, console: Console) -> None:
        """Tell it to this console."""
        self._console = console
        self._began = time.monotonic()
        self._scene = Scene()
        self._live: Live | None = None

    def headline(self, title: str, opening: str) -> None:
        """Open an act."""
        self._console.print()
        self._console.print(Rule(Text(title, style="bold"), align="left", style="dim"))
        self._console.print(Text(opening, style="italic"))

    def say(self, sentence: str, style: str = "") -> None:
        """One sentence, with the time since the beginning."""
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        self._console.print(Text.assemble((f"  {minutes}:{seconds:02}  ", "dim"), (sentence, style)), soft_wrap=True)

    def command(self, words: str) -> None:
        """A command as a person would type it."""
        self.say(f"$ {words}", "bold cyan")

    def line(self, words: str) -> None:
        """One line as it is, to be read or copied."""
        self._console.print(Text(f"  {words}"), soft_wrap=True)

    def finding(self, claim: str, facts: str, *, held: bool) -> None:
        """What the checker found."""
        mark = ("✓", "green") if held else ("✗", "bold red")
        self._console.print(
            Text.assemble("        ", mark, f" {claim}: ", (facts, "dim" if held else "red")), soft_wrap=True
        )

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Show the picture while the block lasts, where there is a terminal."""
        if not self._console.is_terminal:
            yield
            return
        with Live(picture(self._scene), console=self._console, refresh_per_second=8, transient=True) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None
        self._console.print(picture(self._scene))

    def turn_to(self, scene: Scene) -> None:
        """Go on from here without telling how it came to this: what follows is of another plan."""
        self._scene = scene

    def see(self, scene: Scene) -> None:
        """Tell what has changed, and redraw the picture."""
        for sentence in told(self._scene, scene):
            self.say(sentence)
        self._scene = scene
        if self._live is not None:
            self._live.update(picture(scene))


def picture(scene: Scene) -> Group:
    """The rings filling up, the phase, and the latest verdicts."""
    rings = Table.grid(padding=(0, 2))
    for ring in scene.rings:
        is_current = ring.name == scene.ring and scene.phase != "Succeeded"
        rings.add_row(
            Text(f"      {'▶' if is_current else ' '} {ring.name}", style="bold" if is_current else ""),
            bar(ring, going_back=scene.phase in GOING_BACK),
            f"{ring.confirmed}/{ring.target}",
            Text(state_of(ring, scene), style="dim"),
        )
    verdicts = Text("        ")
    for verdict in scene.verdicts:
        verdicts.append(f"{verdict}   ", style=_COLOURS.get(verdict.result, "yellow"))
    return Group(rings, Text(f"        {scene.phase}", style="bold"), verdicts)


def bar(ring: RingScene, *, going_back: bool) -> Text:
    """Confirmed, changing and failed devices of a ring as a bar."""
    if not ring.target:
        return Text("·" * BAR_CELLS, style="dim")
    cells = [round(count * BAR_CELLS / ring.target) for count in (ring.confirmed, ring.in_flight, ring.failed)]
    done, moving, failed = cells[0], min(cells[1], BAR_CELLS - cells[0]), 0
    failed = min(cells[2], BAR_CELLS - done - moving)
    return Text.assemble(
        ("█" * done, "green"),
        (("◀" if going_back else "▒") * moving, "yellow"),
        ("x" * failed, "red"),
        ("·" * (BAR_CELLS - done - moving - failed), "dim"),
    )


def state_of(ring: RingScene, scene: Scene) -> str:
    """A few words about a ring."""
    words = []
    if ring.in_flight:
        words.append(f"{ring.in_flight} changing")
    if ring.failed:
        words.append(f"{ring.failed} failed")
    if ring.offline:
        words.append(f"{ring.offline} offline or held")
    if ring.is_passed:
        words.append("passed")
    elif ring.name == scene.ring and scene.phase in {"Soaking", "Rehearsing"}:
        words.append(scene.phase.lower())
    return ", ".join(words)
