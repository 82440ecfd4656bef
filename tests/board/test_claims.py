"""The comparisons that a page declares are one family: their p and their intervals are corrected together."""

import numpy as np
import pytest
from helpers.boards import tables_in
from helpers.comparisons import put_row, right

from kdbench.board.load import load_cells
from kdbench.board.predictions import TaskAnswers
from kdbench.board.rows import aggregate
from kdbench.board.statistics import Known, all_statistics
from kdbench.results.records import RecordStore
from kdbench.stats.comparisons import holm


def put_made_from(results, source, *rows):
    """Record of rows that they were made from `source`."""
    for record in (record for made in rows for record in made):
        strategy = record.strategy.model_copy(update={"derived_from": source})
        RecordStore(results).put(record.model_copy(update={"strategy": strategy}))


@pytest.fixture
def results(tmp_path):
    put_row(tmp_path, "hard-labels", {0: right(700)})
    for name, hits in (("kd", 735), ("pkd", 722), ("minilm", 715)):
        put_row(tmp_path, name, {0: right(hits)}, control="hard-labels")
    put_row(tmp_path, "bystander", {0: right(600)})
    return tmp_path


def test_p_and_intervals_of_the_declared_family_by_hand(results):
    rows = tables_in(results).rows.set_index("strategy")
    answers = TaskAnswers(load_cells(results, budget="quick").cells, results)
    declared = ["kd", "pkd", "minilm"]
    alone = [answers.difference(name, "hard-labels") for name in declared]
    assert list(rows.loc[declared, "control_p"]) == pytest.approx([one.p for one in alone])
    assert list(rows.loc[declared, "control_p_holm"]) == pytest.approx(holm([one.p for one in alone]))
    # One seed: Student's t of 999 degrees of freedom, at 5% over three instead of 5%.
    for name, one in zip(declared, alone, strict=True):
        half = (rows["control_difference_high"] - rows["control_difference_low"])[name] / 2
        assert half / (one.high - one.low) * 2 == pytest.approx(2.398 / 1.962, rel=2e-3)
    assert np.isnan(rows.loc["bystander", "control_p_holm"])


def test_no_loss_is_corrected_over_the_derived_rows(results):
    put_row(results, "finetune", {0: right(800)}, is_teacher=True)
    made = [put_row(results, name, {0: right(800 - lost)}) for name, lost in (("int8", 1), ("fp16", 2))]
    put_made_from(results, "finetune", *made)
    loaded = load_cells(results, budget="quick")
    statistics = all_statistics(loaded.cells, results, Known())
    answers = TaskAnswers(loaded.cells, results)
    by_row = {name: answers.difference(name, "finetune") for name in ("int8", "fp16")}
    for margin in np.linspace(0.002, 0.008, 13):
        rows = aggregate(loaded.cells, statistics, margin).set_index("strategy")
        for name, difference in by_row.items():
            # What the corrected test says, the uncorrected one says as well, but not the reverse.
            assert not rows.loc[name, "no_loss"] or difference.is_equivalent(margin)
    said = [
        (margin, aggregate(loaded.cells, statistics, margin).set_index("strategy").loc["fp16", "no_loss"])
        for margin in np.linspace(0.002, 0.008, 61)
    ]
    corrected = min(margin for margin, no_loss in said if no_loss)
    assert corrected == pytest.approx(max(-by_row["fp16"].low_90, by_row["fp16"].high_90), abs=2e-4)
