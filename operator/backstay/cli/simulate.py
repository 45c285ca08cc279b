"""`backstay simulate`: plays a whole release on a simulated clock, through the operator's own decisions."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backstay.cli.output import Output, OutputOption, show

if TYPE_CHECKING:
    from backstay.simulate.rollout.documents import WrittenRelease
    from backstay.simulate.rollout.fleets import MadeFleet
    from backstay.simulate.rollout.record import Outcome

LARGE = 20_000
"""With so many devices it takes some seconds."""


def simulate(
    file: Annotated[Path, typer.Argument(help="YAML or JSON with one ReleasePlan, and what stands beside it.")],
    fleet: Annotated[str, typer.Option(help="A number of devices to make up, or a file that describes them.")],
    faults: Annotated[
        list[str] | None,
        typer.Option(
            help="What goes wrong, such as silent-model, bad-firmware=30%, offline=5%, registry-outage=10m@1h."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same release again.")] = 1,
    plot: Annotated[Path | None, typer.Option(help="Write exposure over time to this file, as SVG.")] = None,
    output: OutputOption = Output.TEXT,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Namespace of a plan that names none.")
    ] = "default",
) -> None:
    """Play a release with a fleet and its faults, and tell what happens; nothing is changed anywhere."""
    from backstay.errors import Refused
    from backstay.simulate.rollout.chart import svg_chart
    from backstay.simulate.rollout.documents import read_release
    from backstay.simulate.rollout.faults import parse_faults
    from backstay.simulate.rollout.fleets import fleet_for, known_releases
    from backstay.simulate.rollout.world import Setting, play

    wrong = parse_faults(faults or ())
    release = read_release(file, namespace)
    if release.beyond:
        raise Refused("; ".join(release.beyond))
    made = fleet_for(fleet, release)
    if len(made.devices) >= LARGE:
        typer.echo(f"playing the release with {len(made.devices)} devices …", err=True)
    outcome = play(
        Setting(
            plan=release.plan,
            devices=made.devices,
            known=known_releases(release, made),
            faults=wrong,
            holds=release.holds,
            groups=release.groups,
            reporting=release.reporting,
            probes=release.probes,
            seed=seed,
        )
    )
    if plot is not None:
        plot.write_text(svg_chart(outcome, f"{release.plan.name}: {len(made.devices)} devices"), encoding="utf-8")
    found = [f"releaseplan.backstay.dev/{release.plan.name}"]
    show(output, lambda: _document(outcome), lambda: _print(release, made, outcome, plot), found)


def _print(release: "WrittenRelease", made: "MadeFleet", outcome: "Outcome", plot: Path | None) -> None:
    from rich.table import Table
    from rich.text import Text

    from backstay.cli.paper import paper
    from backstay.simulate.rollout.chart import terminal_chart
    from backstay.simulate.rollout.times import on_the_clock, spoken

    console = paper()
    for notice in (*release.notices, *made.notices):
        console.print(Text(f"note: {notice}", style="dim"))
    for line in outcome.lines:
        phase = f"[{line.phase}] " if line.phase else ""
        table = Table.grid(padding=(0, 2))
        table.add_column(width=9, no_wrap=True)
        table.add_column()
        table.add_row(on_the_clock(line.at), Text(f"{phase}{line.text}", style="" if line.phase else "default"))
        console.print(table)
    rings = Table(box=None, padding=(0, 1), header_style="bold")
    for title in ("ring", "devices", "confirmed", "failed", "offline", "starts", "done", "passes"):
        rings.add_column(title, justify="left" if title == "ring" else "right", no_wrap=True)
    for times, report in outcome.rings:
        counts = report.counts
        failed = counts.failed + report.timed_out
        cells = [times.name, counts.target, counts.confirmed, failed, counts.offline]
        whens = (times.started, times.confirmed, times.passed)
        rings.add_row(*map(str, cells), *("" if when is None else spoken(when) for when in whens))
    console.print()
    console.print(rings)
    console.print()
    for row in terminal_chart(outcome):
        console.print(Text(row), soft_wrap=True)
    console.print()
    for words in _figures(outcome):
        console.print(Text(words), soft_wrap=True)
    if plot is not None:
        console.print(f"exposure over time is in {plot}")


def _figures(outcome: "Outcome") -> list[str]:
    """What a person wants to know of a release that went wrong, or right."""
    from backstay.core.reasons import devices
    from backstay.simulate.rollout.times import spoken

    ending = f"it ends {outcome.phase} after {spoken(outcome.ended)}"
    words = [ending if outcome.is_over else f"it stands still, {outcome.phase}: {'; '.join(outcome.waits)}"]
    if outcome.most_bad:
        share = 100 * outcome.most_bad / outcome.devices
        words.append(f"at most {outcome.most_bad} of {outcome.devices} devices ran a bad version ({share:.2g} %)")
        told = "was not detected" if outcome.detection is None else f"was detected after {spoken(outcome.detection)}"
        words.append(f"the bad version {told}, counted from the first device that answered on it")
        if outcome.recovery is not None:
            words.append(f"the last reachable device was back {spoken(outcome.recovery)} after that")
        if outcome.left_bad:
            away = (
                f", of which {outcome.left_bad_unreachable} cannot be reached" if outcome.left_bad_unreachable else ""
            )
            words.append(f"{devices(outcome.left_bad)} left on it{away}")
    words += [f"frozen: {frozen}" for frozen in outcome.frozen]
    words += [f"{devices(count)} on {versions}" for versions, count in outcome.running.items()]
    words.append(f"{outcome.decisions} decisions, {outcome.orders} orders")
    return words


def _document(outcome: "Outcome") -> dict[str, Any]:
    def seconds(value: Any) -> float | None:  # noqa: ANN401 - a duration or nothing
        return None if value is None else value.total_seconds()

    return {
        "phase": outcome.phase.value,
        "isOver": outcome.is_over,
        "waits": list(outcome.waits),
        "seconds": seconds(outcome.ended),
        "devices": outcome.devices,
        "mostBad": outcome.most_bad,
        "leftBad": outcome.left_bad,
        "leftBadUnreachable": outcome.left_bad_unreachable,
        "detectionSeconds": seconds(outcome.detection),
        "recoverySeconds": seconds(outcome.recovery),
        "frozen": list(outcome.frozen),
        "running": dict(outcome.running),
        "decisions": outcome.decisions,
        "orders": outcome.orders,
        "rings": [
            {
                "name": times.name,
                "target": report.counts.target,
                "confirmed": report.counts.confirmed,
                "failed": report.counts.failed + report.timed_out,
                "offline": report.counts.offline,
                "startedSeconds": seconds(times.started),
                "confirmedSeconds": seconds(times.confirmed),
                "passedSeconds": seconds(times.passed),
            }
            for times, report in outcome.rings
        ],
        "timeline": [
            {"seconds": seconds(line.at), "voice": line.voice.value, "phase": line.phase, "text": line.text}
            for line in outcome.lines
        ],
        "exposure": [{"seconds": seconds(one.at), "new": one.new, "bad": one.bad} for one in outcome.exposure],
    }
