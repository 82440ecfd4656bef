"""What tests share: a tiny model, toy tasks, and experiments made of them."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import helpers.toy_plugin as toys
import pytest
from filelock import FileLock
from helpers.training import TINY_BUDGET, no_report
from hypothesis import settings as hypothesis_settings
from transformers import PreTrainedTokenizerBase

from kdbench import Strategy
from kdbench.api.spec import parse_spec
from kdbench.budgets import Budget
from kdbench.cli.main import main
from kdbench.config import RunConfig
from kdbench.data import DataSettings, PreparedTask, load_task, prepare
from kdbench.models.base import resolve_base_model
from kdbench.models.foreign import load_tokenizer
from kdbench.plugins import load_plugins
from kdbench.registry import Registry
from kdbench.testing.tiny_models import write_bert
from kdbench.training.bench import TrainingBench
from kdbench.training.experiment import Experiment, quiet_libraries
from kdbench.utils.system import Report

# A machine that does something else at the same time is slow, not wrong.
hypothesis_settings.register_profile("kdbench", deadline=None)
hypothesis_settings.load_profile("kdbench")
# A background shell has Ctrl-C ignored, and all that is started here would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
gc.freeze()  # the Trainer collects garbage at every start: it need not look through all that was imported

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WINDOWS = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what opens a browser as slow, and put the files of slow tests first: none is left for one process at the end."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def tiny_budget() -> Budget:
    """The budget of `make_experiment`, to copy with other numbers."""
    return TINY_BUDGET


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of this session's own, for ``cache_dir`` settings or ``KDBENCH_CACHE``; it holds no download."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process and return exit code, output and errors."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["kdbench", *map(str, arguments)])
        handler = signal.getsignal(signal.SIGTERM)
        with pytest.raises(SystemExit) as ended:
            main()
        signal.signal(signal.SIGTERM, handler)
        code = ended.value.code
        assert code is None or isinstance(code, int)
        return (code or 0, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A browser without a window; tests are skipped where none is installed."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser is installed: none of {', '.join(BROWSERS)} is on the path")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])


@pytest.fixture
def asked() -> list[str]:
    """The addresses that `window` has asked for so far."""
    return []


@pytest.fixture(params=WINDOWS)
def window(request: pytest.FixtureRequest, browser: Any, asked: list[str]) -> Iterator[Any]:
    """An empty window of each size; whatever a page in it complains of fails the test."""
    made = browser.new_page(viewport=WINDOWS[request.param])
    complaints: list[str] = []
    made.on("console", lambda message: complaints.append(message.text))
    made.on("pageerror", lambda error: complaints.append(str(error)))
    made.on("dialog", lambda dialog: complaints.append(f"dialog {dialog.message}"))
    made.on("request", lambda asking: asked.append(asking.url))
    yield made
    made.close()
    assert complaints == []


@pytest.fixture(scope="session")
def toy_plugin() -> Path:
    """The plugin with `toy-sentiment`, `toy-tags` and `toy-score`."""
    return Path(toys.__file__)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a BERT of 4 layers x 32 with random weights, whose tokenizer knows most toy words whole."""
    folder = tmp_path_factory.mktemp("models") / "tiny-bert"
    known = {*toys.GOOD, *toys.BAD, *toys.FILLER, "anna", "bruno", "clara", "paris", "oslo", "new", "york"}
    write_bert(folder, known)
    return folder


@pytest.fixture(scope="session")
def registry(toy_plugin: Path) -> Registry:
    """The installed plugins and the toy one."""
    return load_plugins([str(toy_plugin)])


@pytest.fixture
def make_config(
    tiny_model: Path, toy_plugin: Path, cache_dir: Path, tmp_path: Path
) -> Callable[..., RunConfig]:
    """Settings of a smoke run of the tiny model on toy tasks, without drawings: ``make_config(task=["toy-tags"], …)``."""

    def make(**settings: Any) -> RunConfig:
        defaults = {
            "task": ["toy-sentiment"],
            "budget": "smoke",
            "model": str(tiny_model),
            "results": tmp_path / "results",
            "board": tmp_path / "board",
            "cache_dir": cache_dir,
            "drawings": False,
            "plugins": {"modules": [str(toy_plugin)]},
        }
        return RunConfig.model_validate({**defaults, **settings})

    return make


@pytest.fixture(scope="session")
def experiment_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder for all tests that only need a teacher: each is trained once per session."""
    return tmp_path_factory.mktemp("experiments")


@pytest.fixture(scope="session")
def encoded(registry: Registry, cache_dir: Path) -> Callable[[str, Budget, Path], PreparedTask]:
    """A task's data as a budget and a model's own tokenizer make them, once per session: a third of a small training."""
    made: dict[tuple[str, str, Path], PreparedTask] = {}

    def encode(task: str, budget: Budget, model: Path) -> PreparedTask:
        key = task, budget.model_dump_json(), model
        if key not in made:
            data = load_task(registry.task(task), DataSettings(cache_dir=cache_dir))
            made[key] = prepare(data, budget, load_tokenizer(model), cache_dir)
        return made[key]

    return encode


@pytest.fixture
def make_experiment(
    tiny_model: Path,
    registry: Registry,
    encoded: Callable[[str, Budget, Path], PreparedTask],
    cache_dir: Path,
    experiment_results: Path,
) -> Callable[..., Experiment]:
    """An experiment: ``make_experiment("toy-tags", budget=…, results=…, model=…, teacher=…)``.

    Tests of what training a teacher takes or leaves give a folder of their own as `results`.
    """

    def make(
        task: str = "toy-sentiment",
        *,
        budget: Budget = TINY_BUDGET,
        results: Path = experiment_results,
        model: Path = tiny_model,
        teacher: Path | None = None,
    ) -> Experiment:
        quiet_libraries()
        base = resolve_base_model(str(model), cache_dir)

        def encode(tokenizer: PreTrainedTokenizerBase) -> PreparedTask:
            data = load_task(registry.task(task), DataSettings(cache_dir=cache_dir))
            return prepare(data, budget, tokenizer, cache_dir)

        given = resolve_base_model(str(teacher), cache_dir) if teacher else None
        prepared = encoded(task, budget, model)
        return Experiment(prepared, base, budget, results, load_tokenizer(model), encode, given)

    return make


@pytest.fixture
def make_bench(
    make_experiment: Callable[..., Experiment], registry: Registry
) -> Callable[..., tuple[Strategy, TrainingBench]]:
    """A strategy and its bench: ``make_bench("lora[r=2]", "toy-tags", seed=1, report=…, budget=…, results=…)``.

    The first argument may also be a strategy itself.
    """

    def make(
        spec: str | Strategy,
        task: str = "toy-sentiment",
        *,
        seed: int = 0,
        report: Report = no_report,
        **experiment: Any,
    ) -> tuple[Strategy, TrainingBench]:
        strategy = spec if isinstance(spec, Strategy) else registry.strategy(parse_spec(spec))
        return strategy, TrainingBench(make_experiment(task, **experiment), strategy, seed, report)

    return make


@pytest.fixture(scope="session")
def small_run(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, toy_plugin: Path, cache_dir: Path
) -> RunConfig:
    """The settings of a run that has ended (see `make_small_run`); its results are there to be read only.

    All test processes share it: the first to ask runs it, and the others wait.
    """
    from helpers.small_run import make_small_run

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # that of all processes
    settings = folder / "small-run.json"
    with FileLock(folder / "small-run.lock"):
        if not settings.exists():
            made = make_small_run(folder / "run", model=tiny_model, plugin=toy_plugin, cache_dir=cache_dir)
            settings.write_text(made.model_dump_json(), encoding="utf-8")
    return RunConfig.model_validate_json(settings.read_text(encoding="utf-8"))


@pytest.fixture
def small_results(small_run: RunConfig, tmp_path: Path) -> Path:
    """A copy of what that run left but its models, to change at will."""
    ignored = shutil.ignore_patterns("models", "teachers", "logs")
    return Path(shutil.copytree(small_run.results, tmp_path / "handed-in", ignore=ignored))
