"""Carries out in the machine what a test says on the second serial line: a line of JSON in, a line of JSON out."""

import json
import os
import subprocess
import tty
from pathlib import Path

with Path("/dev/ttyS1").open("r+b", buffering=0) as line:
    tty.setraw(line.fileno())
    pending = b""
    while True:
        pending += os.read(line.fileno(), 4096)
        while b"\n" in pending:
            asked, pending = pending.split(b"\n", 1)
            try:
                command = json.loads(asked)
            except ValueError:
                continue
            done = subprocess.run(
                ["/bin/sh", "-c", command["run"]], capture_output=True, text=True, input=command.get("input", "")
            )
            said = {"id": command["id"], "status": done.returncode, "said": done.stdout + done.stderr}
            line.write(json.dumps(said).encode() + b"\n")
