"""Install the peers of `training_throughput.py` in environments of their own, and run them as processes."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parent / "peers"
ENVIRONMENTS = Path(__file__).parent / "environments"
PEERS = ("textbrewer", "torchdistill")


def make_environments() -> None:
    """Install every peer from its pinned requirements, in ``benchmarks/environments/``."""
    for peer in PEERS:
        folder = ENVIRONMENTS / peer
        venv.create(folder, with_pip=True, clear=True)
        install = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, "-r", SCRIPTS / "common.txt"], check=True)
        subprocess.run([*install, "--no-deps", "-r", SCRIPTS / f"{peer}.txt"], check=True)
        print(f"installed {peer}", flush=True)


class Peer:
    """A peer's process, which trains when it is asked to and waits in between.

    Args:
        name: the peer and what it trains on, ``textbrewer layers`` say; ``trainer`` runs in kdbench's environment.
        job: the file of texts, batches and models.
        threads: the number of threads.
    """

    def __init__(self, name: str, job: Path, threads: int) -> None:
        package, trains_on = name.split()
        own = ENVIRONMENTS / package / "bin" / "python"
        python = own if package in PEERS else sys.executable
        self._name, self._log = name, job.with_name(f"{name}.log")
        self._process = subprocess.Popen(
            [python, SCRIPTS / f"{package}_peer.py", job, "--threads", str(threads), trains_on],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log.open("w"),
            text=True,
        )
        self._answer()  # it is ready

    def train(self) -> dict[str, Any]:
        """Let it train once from the start, and return its ``seconds`` and ``accuracy``."""
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._answer())
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} has ended:\n{self._log.read_text()[-2000:]}")
        return line
