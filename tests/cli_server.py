"""Run the real command line many times without paying for its imports each time.

A server process imports everything once and forks for each command, so a test can kill a real
process at any moment. Nothing computes before the fork, so no thread is lost in it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SERVER = """
import json, os, sys
import sslight.run, sslight.cli, sslight.methods.simclr, sslight.methods.byol
import sslight.callbacks.knn, sslight.callbacks.linear_probe
for line in sys.stdin:
    job = json.loads(line)
    pid = os.fork()
    if pid == 0:
        os.setsid()
        out = os.open(job["out"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(out, 1); os.dup2(out, 2)
        os.chdir(job["cwd"])
        os.environ.update(job["env"])
        sys.path[:0] = job["path"]
        sys.argv = ["sslight", *job["argv"]]
        code = 70
        try:
            code = sslight.cli.main(job["argv"]) or 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        except BaseException:
            import traceback
            traceback.print_exc()
        sys.stdout.flush(); sys.stderr.flush()
        os._exit(code)
    print(json.dumps({"pid": pid}), flush=True)
    _, status = os.waitpid(pid, 0)
    print(json.dumps({"status": os.waitstatus_to_exitcode(status)}), flush=True)
"""


@dataclass
class Ended:
    """How a command ended: its exit code (negative for a signal) and what it printed."""

    code: int
    output: str


class CliServer:
    """One importing process, one fork per command."""

    def __init__(self) -> None:
        env = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )
        self.pid = 0
        self._jobs = 0

    def start(self, argv: Sequence[str], cwd: Path, path: Sequence[Path] = ()) -> None:
        self._jobs += 1
        self.out = cwd / f"output_{self._jobs}.txt"
        job = {
            "argv": list(argv),
            "cwd": str(cwd),
            "env": {},
            "out": str(self.out),
            "path": [str(p) for p in path],
        }
        assert self.process.stdin
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        self.pid = self._reply()["pid"]

    def wait(self) -> Ended:
        return Ended(self._reply()["status"], self.out.read_text())

    def run(self, argv: Sequence[str], cwd: Path, path: Sequence[Path] = ()) -> Ended:
        self.start(argv, cwd, path)
        return self.wait()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def _reply(self) -> dict[str, int]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the command server died while importing sslight")
        return json.loads(line)

    def close(self) -> None:
        if self.process.stdin:
            self.process.stdin.close()
        self.process.terminate()  # a data worker forked meanwhile may hold the pipe open
        self.process.wait(timeout=30)
