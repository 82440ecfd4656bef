"""Teachers that the user provides, with another architecture and another tokenizer than their students."""

from collections import Counter

import numpy as np
import pytest
import torch
from helpers.model_folders import letter_by_letter, renumbered
from helpers.training import TINY_BUDGET, same

from kdbench.api.spec import parse_spec
from kdbench.data.matching import outputs_by_example
from kdbench.errors import UsageError
from kdbench.models.build import load_base
from kdbench.models.foreign import load_tokenizer
from kdbench.run.keys import cell_key
from kdbench.training.teacher import TeacherStore, teacher_key, teacher_rate


@pytest.fixture(scope="module")
def mpnet(tiny_model, tmp_path_factory):
    """An encoder without a head that splits texts as the tiny model does."""
    return renumbered(tmp_path_factory.mktemp("teachers") / "mpnet", load_tokenizer(tiny_model))


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    """An encoder without a head that reads letters."""
    return letter_by_letter(tmp_path_factory.mktemp("teachers") / "letters")


@pytest.fixture
def classifier(make_experiment, tmp_path):
    """Write the encoder in a folder with a head for a task, labels in reverse; return the folder."""

    def write(encoder, task):
        experiment = make_experiment(task)
        labels = tuple(reversed(experiment.task.task.labels))
        model = load_base(encoder, experiment.kind, labels, seed=3)
        folder = tmp_path / f"{encoder.name}-{task}"
        model.save_pretrained(folder)
        load_tokenizer(encoder).save_pretrained(folder)
        return folder

    return write


@torch.no_grad()
def logits_of_texts(folder, experiment, texts, words=False):
    """Answer texts, or sentences of words, one by one by the classifier in `folder`: first pieces, labels reversed."""
    tokenizer = load_tokenizer(folder)
    model = load_base(folder, experiment.kind, experiment.task.task.labels, seed=0, fresh_head=False).eval()
    answers = []
    for text in texts:
        encoded = tokenizer(
            text, is_split_into_words=words, truncation=True, max_length=32, return_tensors="pt"
        )
        logits = model(**encoded).logits[0].flip(-1)
        if words:
            of_words = encoded.word_ids(0)
            logits = logits[[of_words.index(word) for word in range(len(text))]]
        answers.append(logits.numpy())
    return answers


def examples(registry, name, column, rows):
    task = registry.task(name)
    return [task.rows_of("train")[example][column] for example in rows["example"][:]]


@pytest.mark.parametrize("encoder", ["mpnet", "letters"])
def test_a_classifier_of_other_word_pieces_answers_the_same_texts(
    make_bench, classifier, registry, encoder, request
):
    folder = classifier(request.getfixturevalue(encoder), "toy-sentiment")
    _, bench = make_bench("vanilla-kd[init=base]", teacher=folder)
    rows = bench.task.train.select(range(12))
    outputs = bench.teacher_logits(rows)
    found = outputs(bench.collate([rows[place] for place in range(12)])).logits
    texts = examples(registry, "toy-sentiment", "text", rows)
    expected = np.stack(logits_of_texts(folder, bench.experiment, texts))
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=0.02, atol=0.02)
    assert bench.experiment.trains_teacher is False
    assert bench.experiment.teacher_has_own_ids


def test_words_get_the_answers_to_their_own_first_pieces(make_bench, classifier, registry, letters):
    folder = classifier(letters, "toy-tags")
    _, bench = make_bench("vanilla-kd[init=base]", "toy-tags", teacher=folder)
    parts = Counter(bench.experiment.of_teacher.task.train["example"][:])
    fits = {example for example, count in parts.items() if count == 1}  # its letters are one row
    rows = bench.task.train
    rows = rows.select([place for place, example in enumerate(rows["example"][:]) if example in fits][:8])
    batch = bench.collate([rows[place] for place in range(len(rows))])
    found = bench.teacher_logits(rows)(batch).logits[batch["labels"] != -100]
    sentences = examples(registry, "toy-tags", "words", rows)
    expected = np.concatenate(logits_of_texts(folder, bench.experiment, sentences, words=True))
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=0.02, atol=0.02)


def test_an_encoder_is_fine_tuned_as_the_teacher_and_is_deployed_with_its_own_tokenizer(
    make_bench, mpnet, tmp_path
):
    strategy, bench = make_bench("finetune", teacher=mpnet, results=tmp_path)
    model = strategy.fit(bench)
    assert type(model).__name__ == "MPNetForSequenceClassification"
    assert bench.is_teacher
    assert bench.own_tokenizer
    assert bench.tokenizer.cls_token == "<s>"
    assert bench.runs[0].steps == round(4 * TINY_BUDGET.teacher_factor)
    untrained = load_base(mpnet, bench.kind, bench.task.task.labels, seed=0)
    assert not torch.equal(model.get_input_embeddings().weight, untrained.get_input_embeddings().weight)
    other = make_bench("vanilla-kd", teacher=mpnet, results=tmp_path)[1]
    assert same(other.teacher, model)
    student = make_bench("vanilla-kd[init=base]", teacher=mpnet, results=tmp_path)
    assert type(student[0].fit(student[1])).__name__ == "BertForSequenceClassification"
    assert student[1].teacher_cost.wall > bench.runs[0].train_s


def test_its_key_has_its_files_and_its_rate_falls_with_its_width(make_experiment, mpnet, letters, tiny_model):
    usual = make_experiment()
    keys = {teacher_key(make_experiment(teacher=teacher), 0) for teacher in (None, mpnet, letters)}
    assert len(keys) == 3
    assert teacher_key(make_experiment(teacher=tiny_model), 0) == teacher_key(
        usual, 0
    )  # the base model itself
    assert teacher_rate(usual) == teacher_rate(make_experiment(teacher=mpnet)) == usual.kind.learning_rate


@pytest.mark.parametrize("spec", ["distilbert[hidden_size=48,layers=2]", "minilm[init=base,layers=2]"])
def test_layers_of_another_architecture_are_matched_where_it_splits_texts_alike(make_bench, mpnet, spec):
    strategy, bench = make_bench(spec, teacher=mpnet)
    assert bench.experiment.other_splits is None
    rows = bench.task.train.select(range(4))
    strategy.fit(bench)
    batch = bench.collate([rows[place] for place in range(4)])
    stored, _ = TeacherStore(bench.experiment, 0).states(rows, bench.teacher_logits(rows))
    tokenizer = bench.experiment.of_teacher.tokenizer
    own = bench.experiment.of_teacher.task.train.select(range(4))
    mine = bench.experiment.of_teacher.collate([own[place] for place in range(4)])
    assert mine["input_ids"][0, 0] == tokenizer.cls_token_id
    with torch.no_grad():
        states = bench.teacher(
            mine["input_ids"], mine["attention_mask"], output_hidden_states=True
        ).hidden_states
    counted = batch["attention_mask"].bool()
    torch.testing.assert_close(
        stored(batch).hidden_states[2][counted], states[2][counted], rtol=0.02, atol=0.05
    )


def test_what_cannot_be_matched_is_refused_in_a_line(make_bench, letters):
    strategy, bench = make_bench("minilm[init=base,layers=2]", teacher=letters)
    with pytest.raises(
        UsageError,
        match=r"'minilm': the teacher letters splits the texts into other word pieces than tiny-bert",
    ):
        strategy.fit(bench)
    _, bench = make_bench("vanilla-kd", teacher=letters)
    with pytest.raises(UsageError, match="layers of the teacher letters belong to its own word pieces"):
        bench.student(bench.params)
    strategy, bench = make_bench("bilstm-kd", teacher=letters)
    with pytest.raises(
        UsageError, match="has no embeddings of the word pieces of tiny-bert; leave augmentation"
    ):
        strategy.fit(bench)


def test_texts_beside_the_task_are_read_by_both(make_bench, classifier, letters, tmp_path):
    folder = classifier(letters, "toy-sentiment")
    (tmp_path / "texts.txt").write_text("a good film\nthe story was weak\n")
    _, bench = make_bench("vanilla-kd[init=base]", teacher=folder)
    rows = bench.read_texts(tmp_path / "texts.txt", limit=10)
    found = bench.teacher_logits(rows)(bench.collate([rows[0], rows[1]])).logits
    expected = np.stack(logits_of_texts(folder, bench.experiment, ["a good film", "the story was weak"]))
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=0.02, atol=0.02)


def test_unmatched_rows_of_a_strategy_are_no_rows_of_the_task(make_experiment):
    rows = make_experiment().task.train.select([0])
    with pytest.raises(LookupError):
        outputs_by_example(rows, [], lambda rows: [], per_word=False)


@pytest.mark.parametrize("encoder", ["mpnet", "letters"])
def test_a_student_of_its_own_checkpoint_is_used_whole_and_taught_across_tokenizers(
    make_bench, encoder, request, tmp_path
):
    checkpoint = request.getfixturevalue(encoder)
    strategy, bench = make_bench(f"vanilla-kd[student={checkpoint}]")
    start, untaught = (
        bench.student(bench.params),
        load_base(checkpoint, bench.kind, ("negative", "positive"), seed=0),
    )
    assert torch.equal(start.get_input_embeddings().weight, untaught.get_input_embeddings().weight)
    assert start.config.num_hidden_layers == untaught.config.num_hidden_layers
    model = strategy.fit(bench)
    assert type(model) is type(start)
    assert bench.own_tokenizer
    assert bench.tokenizer.get_vocab() == load_tokenizer(checkpoint).get_vocab()
    plain = make_bench("vanilla-kd")[1]
    assert bench.teacher.name_or_path == plain.teacher.name_or_path  # the one that all rows share
    rows = bench.task.train.select(range(4))
    mine = bench.teacher_logits(rows)(bench.collate([rows[place] for place in range(4)])).logits
    others = plain.task.train.select(range(4))
    theirs = plain.teacher_logits(others)(plain.collate([others[place] for place in range(4)])).logits
    torch.testing.assert_close(mine, theirs, rtol=0.02, atol=0.02)


def test_its_control_starts_from_the_same_checkpoint_and_its_files_are_in_the_key(
    make_experiment, registry, mpnet, letters
):
    taught = registry.strategy(parse_spec(f"vanilla-kd[student={mpnet}]"))
    control = registry.control(taught)
    assert str(control) == f'hard-labels[student="{mpnet}"]'
    assert registry.base_control(taught) is None
    experiment = make_experiment()
    keys = {
        cell_key(registry.strategy(parse_spec(spec)), experiment, 0)
        for spec in ("vanilla-kd", f"vanilla-kd[student={mpnet}]", f"vanilla-kd[student={letters}]")
    }
    assert len(keys) == 3
    with pytest.raises(UsageError, match="layers has no effect on a student of its own checkpoint"):
        registry.strategy(parse_spec(f"vanilla-kd[student={mpnet},layers=2]"))
    with pytest.raises(UsageError, match=r"^student ./gone: there is no such folder"):
        experiment.for_student("./gone")
