"""What a card says of a timing, of a change of form and of odd names."""

import re
from dataclasses import replace

import pytest
from helpers.manifests import make_manifest
from helpers.support import make_record, make_timing
from huggingface_hub import ModelCard

from kdbench.api.task import TaskKind
from kdbench.export.answers import Answered
from kdbench.export.card import Facts, model_card
from kdbench.export.check import Checked
from kdbench.export.choose import Choice
from kdbench.export.manifest import Format
from kdbench.results.paths import CellFiles


def facts(tmp_path, *, timed=True, exact=True, converted=False, score=0.75, form=Format.HF, **record):
    made = make_record("lora", score=0.785, **record)
    quality = made.quality.model_copy(update={"score": score, "metrics": {"accuracy": score}})
    timing = make_timing({made.key: 2.5})
    return Facts(
        choice=Choice(
            made, CellFiles(tmp_path, made.key), (made,), (timing, timing.models[0]) if timed else None
        ),
        manifest=make_manifest(
            format=form,
            task=made.task.name,
            labels=made.task.labels,
            strategy="lora",
            key=made.key,
            base_model=made.model.name,
            base_sha256=made.model.weights_sha256,
            max_length=made.budget.max_length,
            score=score,
        ),
        kind=TaskKind.SEQUENCE_CLASSIFICATION,
        checked=Checked(drift=0.5, probe_examples=64, quality=quality, exact=exact),
        parameters=1_234_567,
        model_bytes=4_900_000,
        is_converted=converted,
        learning_rate=0.002,
        example="print(1)\n",
        printed="1\n",
    )


def test_speed_stands_with_its_hardware(tmp_path):
    card = model_card(facts(tmp_path))
    assert "p50 2.50 ms" in card
    assert "4.00x the teacher's speed; batch 1, 1 thread, on cores 2, cpu Xeon 8481C" in card
    assert "1.2M parameters (1,234,567), 4.9 MB of files" in card
    assert "before the conversion" not in card


def test_what_was_not_measured_is_said_to_be_so(tmp_path):
    assert "Its latency was not measured." in model_card(facts(tmp_path, timed=False))
    assert "before the conversion" in model_card(facts(tmp_path, converted=True))


def test_what_quantization_costs_is_the_difference_of_two_measured_scores(tmp_path):
    card = model_card(facts(tmp_path, exact=False, form=Format.ONNX_INT8))
    assert "accuracy -3.5 points; on 64 texts a logit by up to 0.5" in card  # 75.0 less 78.5


def test_the_front_matter_is_read_back(tmp_path):
    card = ModelCard(model_card(facts(tmp_path, model="acme/bert-mini")))
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_split) == ("accuracy", 0.75, "test")
    assert card.data.base_model == "acme/bert-mini"
    assert (card.data.library_name, card.data.pipeline_tag) == ("transformers", "text-classification")
    assert ModelCard(model_card(facts(tmp_path))).data.base_model is None  # a folder's name, none of the hub


@pytest.mark.parametrize("title", ["a | b", "---", "<script>x</script>", "two\nlines", "[x](http://y)"])
def test_names_are_text_and_nothing_else(tmp_path, title):
    text = model_card(facts(tmp_path, title=title, model=title))
    card = ModelCard(text)
    assert card.data.eval_results[0].dataset_name == title
    assert "<script>" not in card.text
    assert card.text.strip().startswith("# ")
    for line in card.text.splitlines():
        if line.startswith("| base model"):
            assert len(re.split(r"(?<!\\)\|", line)) == 4


def test_no_text_of_a_record_is_markup(tmp_path):
    strange = "<b>x</b> | [y](http://z) `w`"
    made = facts(tmp_path, model=strange, title=strange, warnings=(strange,))
    record, said = (
        made.choice.record,
        dict.fromkeys(("title", "citation", "label", "version", "note"), strange),
    )
    of_task = dict.fromkeys(("source", "licence", "citation", "eval_split"), strange)
    record = record.model_copy(
        update={
            "strategy": record.strategy.model_copy(update={**said, "params": {strange: strange}}),
            "task": record.task.model_copy(update={**of_task, "labels": (strange,)}),
            "model": record.model.model_copy(update={"teacher": strange}),
            "environment": record.environment.model_copy(
                update={"hardware": {"cpu": strange}, "libraries": {"torch": strange}}
            ),
        }
    )
    text = ModelCard(model_card(replace(made, choice=replace(made.choice, record=record)))).text
    shown = r"&lt;b&gt;x&lt;/b&gt; \| [y]\(http://z) \`w\`"
    assert text.count(shown) == 23
    assert re.findall(r"<b>|(?<!\\)\| \[y|\]\(http|(?<!\\)`w", text) == []


def test_a_card_tells_what_was_trained_how_and_of_how_many_seeds(tmp_path):
    made = facts(tmp_path)
    choice = replace(made.choice, seeds=(made.choice.record, make_record("lora", seed=1, score=0.745)))
    text = model_card(replace(made, choice=choice))
    assert "Of 2 seeds (78.5, 74.5; mean 76.5, standard deviation 2.8) this is seed 0." in text
    assert "\n| what | value |\n| --- | --- |\n| strategy | lora of kdbench 0.1.0 |\n" in text
    assert (
        "\n| learning rate | 0.002 |\n| base model | all-MiniLM-L6-v2 (SHA-256 53aa511700000000) |\n" in text
    )
    assert "\n|  | accuracy |\n| --- | --- |\n| this folder's files, at export | 75.0 " in text
    assert "## Limits\n\n- Texts are truncated at 48 tokens" in text
    assert "\n\n\n" not in text


def test_a_card_states_what_its_example_answered(tmp_path):
    made = facts(tmp_path)
    assert "scored text" not in model_card(made)
    text = model_card(replace(made, answered=Answered(200, 199)))
    assert (
        "\n```\n\nAsked for 200 scored texts, it gave the answer that was scored for 199.\n\n## Scores"
        in text
    )
    tags = replace(
        made, kind=TaskKind.TOKEN_CLASSIFICATION, answered=Answered(50, 40, score=0.702, scored=0.7849)
    )
    text = model_card(tags)
    assert "it gave the entities that were scored for 40. Its answers have accuracy 70.2 where those" in text
    assert (
        "have 78.5: it takes a text, in which words are told apart otherwise than in the data; `kdbench.load`"
        in text
    )
    same = replace(tags, answered=Answered(50, 50, score=0.785, scored=0.785))
    assert "scored for all. Its answers have accuracy 78.5 where those scored have 78.5.\n\n##" in model_card(
        same
    )
