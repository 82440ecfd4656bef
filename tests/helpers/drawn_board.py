"""A small board with all that the page and the pictures show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from helpers.support import make_record, make_timing, save_predictions

from kdbench.board.load import Loaded, load_cells
from kdbench.board.tables import across_tasks, board_tables
from kdbench.render.html.content import page_content
from kdbench.results.records import LearningCurve, RecordStore, Status
from kdbench.results.timings import Point, Timing, put_timing

EVIL = "<script>alert(1)</script>"
COST = "$x_1$ & more"
"""No markup and no formula either."""
CURVES = (LearningCurve(steps=(2, 4, 5), losses=(0.75, 0.5, 0.25), validated=(3, 5), scores=(0.74, 0.75)),)


def make_results(results: Path) -> None:
    """Write two tasks: four rows with scores, the teacher's with three seeds, and one row that failed."""
    for task in ("reviews", "tweets"):
        scores = {"finetune": 0.75, "lora": 0.625, EVIL: 0.5, COST: 0.25}
        keys = []
        for strategy, score in scores.items():
            for seed in range(3 if strategy == "finetune" else 1):
                record = make_record(
                    strategy,
                    task,
                    score,
                    seed=seed,
                    scored_examples=8,
                    is_teacher=strategy == "finetune",
                    control=COST if strategy in ("lora", EVIL) else None,
                    parameters=int(1e6 * score),
                    train_s=100 * score,
                )
                family = "fine-tuning" if strategy == "finetune" else "</script><!--"
                record = record.model_copy(
                    update={
                        "strategy": record.strategy.model_copy(update={"family": family}),
                        "curves": CURVES if strategy == "finetune" else (),
                    }
                )
                RecordStore(results).put(record)
                save_predictions(results, record.key, [i < 8 * score for i in range(8)])
                if seed == 0:
                    keys.append(record.key)
        failed = make_record("broken", task, None, status=Status.FAILED, reason=f"{EVIL} went wrong")
        RecordStore(results).put(failed)
        (results / "logs").mkdir(exist_ok=True)
        (results / "logs" / f"{failed.key}.log").write_text(
            "".join(f"step {step}\n" for step in range(100)) + f"{EVIL} last words\n"
        )
        put_timing(
            results, _with_lengths(make_timing(dict(zip(keys, (10, 8, 4, 2), strict=True)), task=task))
        )


def load(results: Path):
    """Return the table of rows, and what it is drawn from."""
    loaded: Loaded = load_cells(results, budget="quick")
    return board_tables(loaded, results).rows, loaded


def drawn_content(results: Path, change: Callable[[pd.DataFrame], pd.DataFrame] = lambda rows: rows):
    """Return what the page shows of the table of rows, changed."""
    rows, loaded = load(results)
    rows = change(rows)
    return page_content(rows, across_tasks(rows, loaded.cells), loaded, results)


def _with_lengths(timing: Timing) -> Timing:
    models = []
    for model in timing.models:
        back_end = model.back_ends[0]
        further = tuple(
            Point(batch_size=size, length=length, calls=10, p50_ms=model.main.p50_ms * size * length / 16)
            for size in (1, 8)
            for length in (16, 32)
        )
        back_end = back_end.model_copy(update={"points": (*back_end.points, *further)})
        models.append(model.model_copy(update={"back_ends": (back_end,)}))
    return timing.model_copy(update={"models": tuple(models)})
