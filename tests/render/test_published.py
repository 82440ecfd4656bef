"""The section of published results on a task's page and in the terminal."""

import io

from helpers.boards import tables_without_predictions
from helpers.support import make_record, markdown_table
from rich.console import Console

from kdbench.render.published import published_section, published_terminal


def tables(task="sst2", **record):
    made = tables_without_predictions([make_record("finetune", task, 0.889, is_teacher=True, **record)])
    return made.rows, made.cells


def test_the_section_lists_each_result_with_source_and_differences():
    section = published_section(*tables())
    rows = markdown_table(section)
    assert rows[0] == ["system", "score", "parameters", "speed-up", "source", "what differs"]
    by_system = {row[0]: row for row in rows[1:]}
    tiny = by_system["TinyBERT4"]
    assert tiny[1:4] == ["92.6", "14.5M", "9.4x BERT-base"]
    assert tiny[4] == "Jiao et al. 2020, arXiv:1909.10351, Table 1"
    assert "data augmentation" in tiny[5]
    assert by_system["LoRA on RoBERTa-base"][2] == "125M (300k trained)"
    assert by_system["BERT-Tiny"][2:4] == ["-", "-"]
    assert "Here the teacher, finetune, scores 88.9" in section
    assert "not part of this board" in section


def test_what_all_differ_in_stands_once_above_the_table():
    section = published_section(*tables())
    assert section.count("the whole training set (here 2,000 examples)") == 1


def test_the_section_says_where_no_result_is_known():
    assert published_section(*tables("rotten-tomatoes")).endswith("There are none for this task.")


def test_the_terminal_shows_a_table_for_tasks_that_have_results():
    rows, cells = tables()
    (table,) = published_terminal(rows, cells)
    file = io.StringIO()
    Console(file=file, width=200).print(table)
    assert "Published results on sst2" in file.getvalue()
    assert "DistilBERT" in file.getvalue()
    assert published_terminal(*tables("rotten-tomatoes")) == []
