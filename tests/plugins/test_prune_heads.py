import copy

import pytest
import torch
from helpers.cutting import answers, transformed
from helpers.training import KINDS, every_kind
from kdbench_plugins._pruning import attention_blocks, mask_importance, training_batches
from kdbench_plugins.prune_heads import PruneHeads, kept_heads
from torch.utils.flop_counter import FlopCounterMode

from kdbench.api.bench import model_inputs
from kdbench.models.artifacts import load_artifact, save_artifact
from kdbench.models.build import load_base
from kdbench.models.cost import count_parameters

HEAD = 3 * (16 * 32 + 16) + 32 * 16
"""The weights of one of the tiny model's heads: rows of query, key and value, columns of the output."""


@pytest.fixture
def fitted(tiny_model):
    def make(experiment):
        return load_base(tiny_model, experiment.kind, experiment.task.task.labels, seed=0)

    return make


def test_heads_are_ranked_across_layers_by_their_part_of_the_layer():
    importance = [torch.tensor([3.0, 4.0]), torch.tensor([5.0, 12.0])]  # 0.6, 0.8; 0.38, 0.92
    assert kept_heads(importance, 0.0) == [[0, 1], [0, 1]]
    assert kept_heads(importance, 0.25) == [[0, 1], [1]]
    assert kept_heads(importance, 0.5) == [[1], [1]]


def test_every_layer_keeps_a_head_and_others_go_in_its_place():
    importance = [torch.tensor([0.0, 1e-3, 1.0]), torch.tensor([0.0, 0.0, 0.0])]
    assert kept_heads(importance, 0.5) == [[1, 2], [2]]
    assert kept_heads(importance, 0.99) == [[2], [2]]


@pytest.mark.parametrize("task", KINDS)
def test_pruned_it_answers_as_if_the_least_important_heads_were_silent(make_experiment, fitted, task):
    experiment = make_experiment(task)
    masked = fitted(experiment)
    pruned, bench = transformed(PruneHeads, fitted(experiment), experiment, share=0.5, recovery=0.0)
    blocks = attention_blocks(masked, "test")
    layers = [(block.output, block.heads) for block in blocks]
    kept = kept_heads(mask_importance(masked, layers, training_batches(bench, 512), bench.kind), 0.5)
    for block, heads in zip(blocks, kept, strict=True):
        for head in {0, 1} - set(heads):
            block.output.weight.data[:, 16 * head : 16 * head + 16] = 0
    torch.testing.assert_close(answers(pruned, experiment), answers(masked, experiment), rtol=0, atol=1e-5)
    assert bench.runs == []
    assert count_parameters(masked) - count_parameters(pruned) == 4 * HEAD


def test_a_head_that_has_no_say_goes_first(make_experiment, fitted):
    experiment = make_experiment()
    model = fitted(experiment)
    attention_blocks(model, "test")[2].output.weight.data[:, 16:] = 0
    before = answers(model, experiment)
    pruned, _ = transformed(PruneHeads, copy.deepcopy(model), experiment, share=1 / 8, recovery=0.0)
    assert [block.heads for block in attention_blocks(pruned.inner, "test")] == [2, 2, 1, 2]
    torch.testing.assert_close(answers(pruned, experiment), before, rtol=0, atol=1e-5)


def test_it_takes_fewer_operations(make_experiment, fitted):
    experiment = make_experiment()
    batch = model_inputs(experiment.collate([experiment.task.scored[0]]))

    def flops(model, inner):
        inner.set_attn_implementation("eager")  # the counter knows no fused kernel
        with FlopCounterMode(display=False) as counter:
            model.eval()(**batch)
        return counter.get_total_flops()

    model = fitted(experiment)
    whole = flops(model, model)
    pruned, _ = transformed(PruneHeads, model, experiment, share=0.5, recovery=0.0)
    tokens = batch["input_ids"].shape[1]
    a_head = 2 * tokens * (4 * 32 * 16) + 2 * 2 * tokens * tokens * 16
    assert whole - flops(pruned, pruned.inner) == 4 * a_head


@every_kind
def test_what_is_left_is_trained_and_saved(make_experiment, fitted, task, tmp_path):
    experiment = make_experiment(task)
    pruned, bench = transformed(PruneHeads, fitted(experiment), experiment, recovery=0.5)
    assert [run.steps for run in bench.runs] == [2]  # of the tiny budget's four
    assert sum(block.heads for block in attention_blocks(pruned.inner, "test")) == 8 - 3
    save_artifact(pruned, experiment.tokenizer, tmp_path / "artifact")
    again = load_artifact(tmp_path / "artifact")
    torch.testing.assert_close(answers(again, experiment), answers(pruned, experiment), rtol=0, atol=1e-6)
    assert count_parameters(again) == count_parameters(pruned)


def test_heads_are_pruned_again_where_they_were_before(make_experiment, fitted):
    experiment = make_experiment()
    first, _ = transformed(PruneHeads, fitted(experiment), experiment, share=0.25, recovery=0.0)
    second, _ = transformed(PruneHeads, first, experiment, share=0.2, recovery=0.0)
    assert second is first
    assert sum(block.heads for block in attention_blocks(second.inner, "test")) == 5
