"""A config is checked by the schema in its artifact before anything uses it."""

import subprocess
import sys
from pathlib import Path
from typing import Final

from backstay.core.device import Cause, Reason
from backstay.ports.installer import Beside
from backstay.ports.registry import ArtifactDescription

CHECKER: Final = "backstay.adapters.json_schema"
SECONDS: Final = 30.0


def bad_values(payload: Path, _artifact: ArtifactDescription, beside: Beside) -> Cause | None:
    """Why a config cannot be used, with a JSON Pointer to what its schema refuses; blocking.

    A process of its own judges, which gives its memory back and ends whatever a schema asks of it.
    """
    if beside.schema is None:
        return Cause(Reason.REJECTED, "config: it came without the JSON Schema that says what is valid in it")
    command = (sys.executable, "-I", "-m", CHECKER, str(beside.schema), str(payload))
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return _unjudged(f"no verdict within {SECONDS:g} s")
    except OSError as error:
        return _unjudged(str(error))
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:]
        return _unjudged(last[0] if last else f"the check ended with {done.returncode}")
    fault = done.stdout.strip()
    return Cause(Reason.REJECTED, f"config: {fault}") if fault else None


def _unjudged(why: str) -> Cause:
    return Cause(Reason.REJECTED, f"config: it could not be checked by its schema: {why}")
