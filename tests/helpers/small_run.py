"""A real run of the toy tasks, small enough to be made once for all tests that only read it."""

from __future__ import annotations

from pathlib import Path

from kdbench.config import RunConfig
from kdbench.plugins import load_plugins
from kdbench.run.runner import run


class Nobody:
    """A watcher that watches nothing."""

    def planned(self, plan):
        """Take a plan."""

    def started(self, name):
        """Take a start."""

    def progressed(self, name, progress):
        """Take progress."""

    def ended(self, name, status, reason, score, seconds):
        """Take an end."""

    def remark(self, line):
        """Take a remark."""


def make_small_run(folder: Path, *, model: Path, plugin: Path, cache_dir: Path) -> RunConfig:
    """Run the reference and a probe on two toy tasks in this process, and return the settings."""
    config = RunConfig.model_validate(
        {
            "task": ["toy-sentiment", "toy-tags"],
            "strategy": ["linear-probe"],
            "budget": "smoke",
            "model": str(model),
            "results": folder / "results",
            "board": folder / "board",
            "cache_dir": cache_dir,
            "executor": "inline",
            "plugins": {"modules": [str(plugin)]},
        }
    )
    outcome = run(config, load_plugins(config.plugins.modules), Nobody())
    assert outcome.failed == 0
    return config
