"""Run the checker: `look` before the first act or in the middle of one, `--act` after each."""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from demo.checker.context import Context
from demo.checker.evidence import Moment, moment_from
from demo.checker.flash import UnreadableFlash
from demo.checker.gather import Unanswered, gather, look
from demo.checker.judge import facts, judge

COULD_NOT_LOOK = 2


def main() -> int:
    """Write down what is found; exit 0 if every claim holds, 1 if one does not, 2 if a system did not answer."""
    arguments = _arguments()
    context = Context.load(arguments.context)
    context.evidence.mkdir(parents=True, exist_ok=True)
    try:
        if arguments.look:
            _save(look(context), context.evidence / f"moment-{arguments.look}.json")
            return 0
        return _check(context, arguments.act)
    except (Unanswered, UnreadableFlash) as error:
        print(f"the checker could not look: {error}", file=sys.stderr)
        return COULD_NOT_LOOK


def _check(context: Context, act: int) -> int:
    before = _load(context.evidence / f"moment-{act - 1}.json")
    held = context.evidence / f"moment-{act}-between.json"
    evidence = gather(context, act, before, _load(held) if held.exists() else None)
    evidence.save(context.evidence / f"act-{act}.json")
    _save(evidence.after, context.evidence / f"moment-{act}.json")
    findings = judge(evidence)
    held_all = all(finding.held for finding in findings)
    result = {**facts(evidence), "passed": held_all, "findings": [dataclasses.asdict(one) for one in findings]}
    json.dump(result, sys.stdout, indent=1)
    return 0 if held_all else 1


def _save(moment: Moment, file: Path) -> None:
    file.write_text(json.dumps(dataclasses.asdict(moment)), encoding="utf-8")


def _load(file: Path) -> Moment:
    return moment_from(json.loads(file.read_text(encoding="utf-8")))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo.checker", description="Check what the demo claims.")
    parser.add_argument("--context", type=Path, required=True, help="what the demo wrote down: where everything is")
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--act", type=int, help="judge the act that has just ended")
    choice.add_argument("--look", metavar="NAME", help="only write down how everything stands now")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
