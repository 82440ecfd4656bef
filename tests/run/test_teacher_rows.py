"""Which rows a run has where the user provides the teacher, and where their students start."""

import pytest
from helpers.model_folders import letter_by_letter, renumbered

from kdbench.api.spec import parse_spec
from kdbench.models.foreign import load_tokenizer
from kdbench.run.plan import State, make_plan
from kdbench.run.teacher_rows import from_base


@pytest.fixture
def rows(make_config, registry, cache_dir):
    """The rows of a run with a teacher: whether each can run, or why not."""

    def plan(teacher, *strategies):
        config = make_config(strategy=list(strategies), teacher=str(teacher), seeds=1)
        cells = make_plan(config, registry, fetch=True).cells
        return {
            str(cell.row.spec): cell.reason if cell.state is State.NOT_APPLICABLE else True for cell in cells
        }

    return plan


def test_students_of_a_teacher_of_another_architecture_start_from_the_base_and_have_one_control(
    rows, tiny_model, tmp_path
):
    teacher = renumbered(tmp_path / "mpnet", load_tokenizer(tiny_model))
    assert rows(teacher, "vanilla-kd", "minilm", "bilstm-kd") == dict.fromkeys(
        [
            "finetune",
            "hard-labels[init=base]",
            "vanilla-kd[init=base]",
            "minilm[init=base]",
            "bilstm",
            "bilstm-kd",
        ],
        True,
    )


def test_layers_are_matched_with_a_teacher_that_splits_texts_alike_alone(rows, tmp_path):
    found = rows(letter_by_letter(tmp_path / "letters"), "vanilla-kd", "minilm")
    reason = found.pop("minilm[init=base]")
    assert reason.startswith(
        "the teacher letters splits the texts into other word pieces than tiny-bert, so that its"
    )
    assert "vanilla-kd" in reason.partition("; ")[2]
    assert reason.endswith(" learn from its logits")
    assert set(found.values()) == {True}


def test_a_teacher_of_the_base_models_shape_gives_its_layers_as_ever(rows, tiny_model):
    assert set(rows(tiny_model, "vanilla-kd")) == {
        "finetune",
        "hard-labels",
        "hard-labels[init=base]",
        "vanilla-kd",
    }


@pytest.mark.parametrize(
    "spec",
    [
        "vanilla-kd[init=random]",
        "vanilla-kd[hidden_size=16]",
        "vanilla-kd[student=x]",
        "lora",
        "bilstm-kd",
        "finetune",
    ],
)
def test_what_says_where_it_starts_or_has_no_student_stays_as_it_is(registry, spec):
    assert from_base(parse_spec(spec), registry) == parse_spec(spec)


def test_every_stage_of_a_stack_is_seen_to(registry):
    assert (
        str(from_base(parse_spec("tinybert[layers=2]+int8"), registry)) == "tinybert[init=base,layers=2]+int8"
    )
