"""Run the checker: `look` before the first act or in the middle of one, `--act` after each."""

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path

from demo.checker.context import Context
from demo.checker.evidence import Moment, moment_from
from demo.checker.flash import UnreadableFlash
from demo.checker.gather import Unanswered, gather, look
from demo.checker.judge import all_held, facts, judge

COULD_NOT_LOOK = 2
NOT_HELD = 3
"""Not 1, with which Python ends when it breaks."""
AGAIN_SECONDS = 1.0
PATIENCE_SECONDS = 8.0


def main() -> int:
    """Write down what is found; exit 0 if every claim holds, 3 if one does not, 2 if a system did not answer."""
    arguments = _arguments()
    context = Context.load(arguments.context)
    context.evidence.mkdir(parents=True, exist_ok=True)
    try:
        if arguments.look:
            _save(look(context), context.evidence / f"moment-{arguments.look}.json")
            return 0
        return _check(context, arguments.act, arguments.patience)
    except (Unanswered, UnreadableFlash) as error:
        print(f"the checker could not look: {error}", file=sys.stderr)
        return COULD_NOT_LOOK


def _check(context: Context, act: int, patience: float) -> int:
    before = _load(context.evidence / f"moment-{act - 1}.json")
    held = context.evidence / f"moment-{act}-between.json"
    between, give_up = _load(held) if held.exists() else None, time.monotonic() + patience
    evidence = gather(context, act, before, between)
    while not all_held(judge(evidence)) and time.monotonic() < give_up:
        # Reports, scrapes and pages arrive a little after what they tell of; what was done wrong stays on record.
        time.sleep(AGAIN_SECONDS)
        evidence = gather(context, act, before, between)
    evidence.save(context.evidence / f"act-{act}.json")
    _save(evidence.after, context.evidence / f"moment-{act}.json")
    findings = judge(evidence)
    passed = all_held(findings)
    result = {**facts(evidence), "passed": passed, "findings": [dataclasses.asdict(one) for one in findings]}
    json.dump(result, sys.stdout, indent=1)
    return 0 if passed else NOT_HELD


def _save(moment: Moment, file: Path) -> None:
    file.write_text(json.dumps(dataclasses.asdict(moment)), encoding="utf-8")


def _load(file: Path) -> Moment:
    return moment_from(json.loads(file.read_text(encoding="utf-8")))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo.checker", description="Check what the demo claims.")
    parser.add_argument("--context", type=Path, required=True, help="what the demo wrote down: where everything is")
    parser.add_argument("--patience", type=float, default=PATIENCE_SECONDS, help="seconds that it may take to settle")
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--act", type=int, help="judge the act that has just ended")
    choice.add_argument("--look", metavar="NAME", help="only write down how everything stands now")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
