"""Parts of pages that are drawn from the code: replaced between two marks, or found to be out of date."""

import sys
from pathlib import Path


def keep_drawn(page: Path, begin: str, end: str, drawn: str, *, what: str, script: str) -> int:
    """Replace what stands between two marks, or with `--check` say that it is out of date; the status of the process.

    `drawn` has the marks at its ends.
    """
    text = page.read_text()
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    wanted = before + drawn + after
    if text == wanted:
        return 0
    if "--check" in sys.argv:
        sys.stderr.write(f"{page}: the {what} is out of date; run: python {script}\n")
        return 1
    page.write_text(wanted)
    return 0
