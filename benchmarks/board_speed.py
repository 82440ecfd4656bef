"""Measure the time to draw a board of many records, to redraw it after one more cell, and to use its page.

For comparison, a plain script with pandas and Altair makes means, tables and as many pictures in the same run: no
statistics, no page, one process. The page is opened in a headless browser, sorted and scrolled; without a browser this part
is skipped.

python benchmarks/board_speed.py [--strategies 50] [--tasks 20] [--seeds 10] [--examples 1000]
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd
from joblib.externals.loky import get_reusable_executor

from kdbench.api.predictions import Predictions
from kdbench.api.task import TaskKind
from kdbench.board.statistics import Known
from kdbench.budgets import BUDGETS, BackEnd
from kdbench.config import default_cache_dir
from kdbench.render.write import write_board
from kdbench.results.records import (
    Cost,
    Environment,
    ModelInfo,
    Quality,
    Record,
    RecordStore,
    Size,
    Status,
    StrategyInfo,
    TaskInfo,
)
from kdbench.results.timings import BackEndTiming, ModelTiming, Point, Timing, put_timing

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
HERE = Environment(hardware={"cpu": "made up"}, libraries={}, git_revision=None, git_dirty=None)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("strategies", 50), ("tasks", 20), ("seeds", 10), ("examples", 1000)):
        arguments.add_argument(f"--{name}", type=int, default=default)
    wanted = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        results, board = Path(scratch, "results"), Path(scratch, "board")
        cells = [
            (strategy, task, seed)
            for strategy in range(wanted.strategies)
            for task in range(wanted.tasks)
            for seed in range(wanted.seeds)
        ]
        for cell in cells:
            put_cell(results, *cell, wanted.examples)
        for task in range(wanted.tasks):
            put_times(results, task, wanted.strategies)
        known = Known()
        print(f"{len(cells):,} records, tables alone: {drawing(results, board, known)}", flush=True)
        put_cell(results, *cells[-1], wanted.examples, again=True)
        print(f"again after one more cell: {drawing(results, board, known)}", flush=True)
        cache = default_cache_dir()
        write_board(
            results, board, budget="full", known=known, cache=cache
        )  # the page's libraries are bundled once
        began = time.perf_counter()
        print(f"all of it, page and pictures too: {drawing(results, board, Known(), cache)}", flush=True)
        took = time.perf_counter() - began
        began = time.perf_counter()
        plain_script(results, Path(scratch, "plain"))
        plain = time.perf_counter() - began
        print(
            f"a plain script: {plain:.1f} s, so that all of it takes {took / plain:.2f} times as long",
            flush=True,
        )
        page = board / "index.html"
        print(f"the page: {page.stat().st_size / 1e6:.1f} MB; {answering(page)}")


def drawing(results: Path, board: Path, known: Known, cache: Path | None = None) -> str:
    wall, own, others = (
        time.perf_counter(),
        processor_s(resource.RUSAGE_SELF),
        processor_s(resource.RUSAGE_CHILDREN),
    )
    write_board(results, board, budget="full", known=known, cache=cache)
    wall, own = time.perf_counter() - wall, processor_s(resource.RUSAGE_SELF) - own
    get_reusable_executor().shutdown()  # the time of processes is known once they have ended
    others = processor_s(resource.RUSAGE_CHILDREN) - others
    beside = f", and {others:.1f} s in other processes" if others else ""
    return f"{wall:.1f} s, of which {own:.1f} s on the processor{beside}"


def processor_s(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def plain_script(results: Path, folder: Path) -> None:
    """Write tables of means and a board's three pictures per task, as SVG and PNG, as in a script written by hand."""
    folder.mkdir()
    records = [json.loads(path.read_bytes()) for path in sorted((results / "records").glob("*.json"))]
    cells = pd.json_normalize(records)[
        ["task.name", "strategy.label", "seed", "quality.score", "size.total_parameters", "cost.train_s"]
    ]
    timings = [json.loads(path.read_bytes()) for path in sorted((results / "timings").glob("*.json"))]
    points = pd.json_normalize(timings, ["models", "back_ends", "points"], ["task", ["models", "key"]])
    for task, own in cells.groupby("task.name"):
        rows = means(own)
        rows.to_csv(folder / f"{task}.csv")
        (folder / f"{task}.md").write_text(rows.to_markdown())
        timed = points[(points["task"] == task) & points["length"].notna()]
        for name, chart in plain_pictures(rows, own, timed):
            for form in ("svg", "png"):
                chart.save(folder / f"{name}-{task}.{form}", ppi=150)


def means(cells: pd.DataFrame) -> pd.DataFrame:
    """Return mean and deviation of each strategy's scores, best first, with its mean costs."""
    rows = cells.groupby("strategy.label").agg(
        score=("quality.score", "mean"),
        deviation=("quality.score", "std"),
        parameters=("size.total_parameters", "mean"),
        train_s=("cost.train_s", "mean"),
    )
    return rows.sort_values("score", ascending=False)


def plain_pictures(
    rows: pd.DataFrame, cells: pd.DataFrame, timed: pd.DataFrame
) -> Iterator[tuple[str, alt.TopLevelMixin]]:
    """Draw the scores of every seed, the scores against three costs, and the latencies by length."""
    # In the order of the keys, not of the rows: it is there to be timed, not to be looked at.
    table = rows.reset_index(names="strategy").assign(
        low=rows["score"].to_numpy() - 1.96 * rows["deviation"].to_numpy(),
        high=rows["score"].to_numpy() + 1.96 * rows["deviation"].to_numpy(),
        p50=timed.groupby("models.key")["p50_ms"].first().to_numpy()[: len(rows)],
    )
    seeds = cells.rename(columns={"quality.score": "score", "strategy.label": "strategy"})
    lines = alt.Chart(table).encode(y=alt.Y("strategy", sort=None))
    yield (
        "scores",
        lines.mark_rule().encode(x="low", x2="high")
        + lines.mark_point().encode(x="score")
        + alt.Chart(seeds[["strategy", "score"]]).mark_circle(color="black").encode(y="strategy", x="score"),
    )
    panels = []
    for cost in ("p50", "parameters", "train_s"):
        points = alt.Chart(table).encode(x=alt.X(cost, scale=alt.Scale(type="log")))
        names = alt.Chart(table.head(20)).mark_text(align="left").encode(x=cost, y="score", text="strategy")
        intervals = points.mark_rule().encode(y="low", y2="high")
        panels.append(
            intervals + points.mark_point().encode(y=alt.Y("score", scale=alt.Scale(zero=False))) + names
        )
    yield "costs", alt.hconcat(*panels)
    logs = {axis: alt.Scale(type="log") for axis in "xy"}
    yield (
        "latency",
        alt.Chart(timed.rename(columns={"models.key": "key"})[["key", "batch_size", "length", "p50_ms"]])
        .mark_line(point=True)
        .encode(
            x=alt.X("length", scale=logs["x"]),
            y=alt.Y("p50_ms", scale=logs["y"]),
            detail="key",
            column="batch_size",
        ),
    )


_SORTS = """async () => {
    const frame = () => new Promise(requestAnimationFrame), took = [];
    for (let i = 0; i < 3; i++) {
        for (let place = 0; place < 4; place++) {
            const heading = document.querySelectorAll("#board thead th")[place], began = performance.now();
            heading.querySelector("[role=button]").click();
            await frame(); await frame();
            took.push(performance.now() - began);
        }
    }
    return took;
}"""
"""Milliseconds from a click on a heading until the frame after the one with the sorted rows."""
_SCROLLS = """async () => {
    const frame = () => new Promise(requestAnimationFrame), took = [];
    for (let i = 0; i < 40; i++) {
        const began = performance.now();
        scrollBy(0, i < 20 ? 200 : -200);
        await frame();
        took.push(performance.now() - began);
    }
    return took;
}"""


def answering(page: Path) -> str:
    """Return how long the page takes to open, and the longest time to show, sort and scroll a tab."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        return "no browser to open it in"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        window = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"]).new_page()
        began = time.perf_counter()
        window.goto(page.as_uri())
        window.wait_for_selector("html[data-ready]")
        told = [f"opened in {time.perf_counter() - began:.1f} s"]
        for tab in (0, 1):
            name = window.get_by_role("tab").nth(tab).inner_text()
            window.get_by_role("tab").nth(tab).click()
            window.wait_for_timeout(2000)
            for what, script in (("a sort", _SORTS), ("a scroll", _SCROLLS)):
                took = sorted(window.evaluate(script))
                told.append(
                    f"{what} of {name!r} within {took[-1]:.0f} ms (median {took[len(took) // 2]:.0f} ms)"
                )
        return ", ".join(told)


def put_cell(
    results: Path, strategy: int, task: int, seed: int, examples: int, *, again: bool = False
) -> None:
    """Write record and predictions of one cell, of a model that errs more on some examples than on others."""
    rng = np.random.default_rng([strategy, task, seed, again])
    references = np.arange(examples) % 2
    hard = np.random.default_rng(task).normal(size=examples)
    logits = rng.normal(size=(examples, 2)) + hard[:, None]
    logits[np.arange(examples), references] += 1 + strategy / 50 - hard
    predictions = Predictions(np.arange(examples), logits.astype(np.float32), references)
    key = f"{strategy:03}{task:03}{seed:03}"
    predictions.save(results / "predictions" / f"{key}.safetensors")
    score = float((predictions.predicted == references).mean())
    RecordStore(results).put(
        Record(
            key=key,
            status=Status.OK,
            strategy=StrategyInfo(
                name=f"strategy-{strategy}",
                label=f"strategy-{strategy}",
                title="made up",
                citation="",
                family=f"family-{strategy % 6}",
                params={},
                distribution="kdbench",
                version="0",
                control=f"strategy-{strategy - 1}" if strategy % 2 else None,
            ),
            task=TaskInfo(
                name=f"task-{task}",
                title="made up",
                kind=TaskKind.SEQUENCE_CLASSIFICATION,
                metric="accuracy",
                eval_split="test",
                fingerprint="made up",
                source="made up",
                labels=("no", "yes"),
                train_examples=1000,
                validation_examples=100,
                scored_examples=examples,
                majority_score=0.5,
            ),
            model=ModelInfo(name="made up", weights_sha256="0" * 64),
            budget=BUDGETS["full"],
            seed=seed,
            is_teacher=strategy == 49 and seed == 0,
            quality=Quality(score=score, low=score - 0.02, high=score + 0.02, metrics={"accuracy": score}),
            size=Size(
                total_parameters=10**6 * (strategy + 1),
                trainable_parameters=10**6,
                non_embedding_parameters=10**6,
                artifact_bytes=10**7,
                task_bytes=10**7,
            ),
            cost=Cost(
                train_s=float(rng.uniform(10, 100)),
                total_s=100,
                teacher_s=0,
                steps=100,
                examples=1000,
                tokens=10_000,
                peak_memory_bytes=None,
            ),
            environment=HERE,
            finished_at=NOW + timedelta(days=again),
        )
    )


def put_times(results: Path, task: int, strategies: int) -> None:
    """Write a timing of every row's first seed, with a grid of batch sizes and lengths."""
    sizes = [(1, None), *((batch, length) for batch in (1, 8, 32) for length in (16, 32, 64, 128))]
    put_timing(
        results,
        Timing(
            task=f"task-{task}",
            budget="full",
            model="made up",
            threads=1,
            batch_size=1,
            rounds=100,
            environment=HERE,
            finished_at=NOW,
            models=tuple(
                ModelTiming(
                    key=f"{strategy:03}{task:03}000",
                    back_ends=(
                        BackEndTiming(
                            back_end=BackEnd.TORCH,
                            device="cpu",
                            points=tuple(
                                Point(
                                    batch_size=batch,
                                    length=length,
                                    calls=100,
                                    p50_ms=float(batch * (length or 20) * (strategy + 1)),
                                    speedup=50 / (strategy + 1),
                                    speedup_low=49 / (strategy + 1),
                                    speedup_high=51 / (strategy + 1),
                                )
                                for batch, length in sizes
                            ),
                        ),
                    ),
                )
                for strategy in range(strategies)
            ),
        ),
    )


if __name__ == "__main__":
    main()
