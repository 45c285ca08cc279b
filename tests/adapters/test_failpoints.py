"""A failpoint that is misspelt is refused: a fault test that kills nothing would prove nothing."""

import subprocess
import sys

import pytest

from backstay.adapters.failpoints import OPERATOR, Failpoints
from backstay.errors import Refused


@pytest.mark.parametrize("wanted", ["before-everything", "before-dispatch:x"])
def test_failpoint_is_refused_when_it_does_not_exist(wanted: str) -> None:
    with pytest.raises(Refused):
        Failpoints(wanted)


def test_failpoint_kills_at_the_passage_that_was_asked_for() -> None:
    script = (
        "from backstay.adapters.failpoints import Failpoints\n"
        f"points = Failpoints('{OPERATOR[0]}:2')\n"
        f"points.passing('{OPERATOR[1]}'); points.passing('{OPERATOR[0]}'); print('once', flush=True)\n"
        f"points.passing('{OPERATOR[0]}'); print('twice', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-9, "once\n")


def test_failpoint_does_nothing_when_none_is_asked_for() -> None:
    for name in OPERATOR:
        Failpoints().passing(name)
