import pytest
import torch
from helpers.training import every_kind
from kdbench_plugins._bilstm_model import BiLSTMModel as Network
from kdbench_plugins._bilstm_model import build_bilstm, reduce_width
from kdbench_plugins.bilstm import BiLSTM
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from kdbench.api.bench import model_inputs
from kdbench.api.task import TaskKind
from kdbench.evaluation.metrics import METRICS
from kdbench.models.cost import count_non_embedding, count_parameters
from kdbench.training.predict import predict
from kdbench.training.teacher import TeacherStore

FORMS = [(False, False), (True, False), (False, True)]
SMALL = {"hidden_size": 8, "dense_size": 6}


def network(tokens=False, pairs=False, *, table_size=7, dropout=0.0):
    torch.manual_seed(0)
    return Network(
        vocabulary=50,
        table_size=table_size,
        embedding_size=5,
        hidden_size=4,
        dense_size=6,
        outputs=3,
        tokens=tokens,
        pairs=pairs,
        dropout=dropout,
    ).eval()


def padded(texts, second, length, padding):
    """Texts as one batch of `length`; from place `second` of each on, it is another text."""
    ids = torch.full((len(texts), length), padding)
    mask, types = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, (text, start) in enumerate(zip(texts, second, strict=True)):
        ids[row, : len(text)] = torch.tensor(text)
        mask[row, : len(text)] = 1
        types[row, start : len(text)] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


TEXTS = [[3, 4, 5, 6, 7], [8, 9], [10, 11, 12]]
SECOND = [2, 1, 2]


def made(make_bench, task="toy-sentiment", *, seed=0, experiment=None, **params):
    strategy = BiLSTM(BiLSTM.Params(**{**SMALL, **params}))
    return make_bench(strategy, task, seed=seed, **(experiment or {}))


@pytest.mark.parametrize(("tokens", "pairs"), FORMS)
@torch.no_grad()
def test_padding_has_no_influence(tokens, pairs):
    model = network(tokens, pairs)
    tight = model(**padded(TEXTS, SECOND, 5, padding=0)).logits
    loose = model(**padded(TEXTS, SECOND, 9, padding=42)).logits
    for row, text in enumerate(TEXTS):
        alone = model(**padded([text], SECOND[row : row + 1], len(text), padding=0)).logits[0]
        counted = slice(len(text)) if tokens else slice(None)
        torch.testing.assert_close(tight[row][counted], alone, rtol=0, atol=1e-6)
        torch.testing.assert_close(loose[row][counted], alone, rtol=0, atol=1e-6)


@torch.no_grad()
def test_its_states_are_those_of_torchs_bidirectional_layer_over_packed_texts():
    model = network()
    both = torch.nn.LSTM(5, 4, batch_first=True, bidirectional=True)
    both.load_state_dict(
        {
            **model.rightward.state_dict(),
            **{f"{name}_reverse": weight for name, weight in model.leftward.state_dict().items()},
        }
    )
    vectors, lengths = torch.randn(3, 5, 5), torch.tensor([5, 2, 3])
    packed = pack_padded_sequence(vectors, lengths, batch_first=True, enforce_sorted=False)
    output, (last, _) = both(packed)
    expected, _ = pad_packed_sequence(output, batch_first=True)
    states = model.states(vectors, lengths)
    for row, length in enumerate(lengths):
        torch.testing.assert_close(states[row, :length], expected[row, :length])
    torch.testing.assert_close(model.ends(vectors, lengths), torch.cat([last[0], last[1]], dim=-1))


@pytest.mark.parametrize(("tokens", "pairs"), FORMS)
@torch.no_grad()
def test_the_order_of_the_words_matters_and_both_ends_count(tokens, pairs):
    model = network(tokens, pairs)
    first, swapped, other_last = (
        model(**padded([text], [2], 4, padding=0)).logits
        for text in ([3, 4, 5, 6], [4, 3, 5, 6], [3, 4, 5, 7])
    )
    assert not torch.allclose(first, swapped)
    if tokens:  # the first piece's answer sees the last piece
        first, other_last = first[:, 0], other_last[:, 0]
    assert not torch.allclose(first, other_last)


@torch.no_grad()
def test_a_pair_is_told_by_both_states_their_product_and_their_difference():
    model = network(pairs=True)
    model.dense.weight.zero_()
    model.dense.weight[0, 3 * 8 : 4 * 8] = 1  # the difference alone
    model.dense.bias.zero_()
    same = padded([[3, 4, 3, 4]], [2], 4, padding=0)
    torch.testing.assert_close(model(**same).logits[0], model.classifier.bias)
    other = padded([[3, 4, 4, 3]], [2], 4, padding=0)
    assert not torch.allclose(model(**other).logits[0], model.classifier.bias)


def test_at_the_defaults_it_has_1_6_million_parameters_beside_the_embeddings():
    params = BiLSTM.Params()
    width, hidden, dense = params.embedding_size, params.hidden_size, params.dense_size
    assert (width, hidden, dense) == (300, 300, 200)
    with torch.device("meta"):
        model = Network(
            vocabulary=30_522,
            table_size=width,
            embedding_size=width,
            hidden_size=hidden,
            dense_size=dense,
            outputs=2,
            tokens=False,
            pairs=False,
            dropout=0.1,
        )
    one_direction = 4 * (300 * 300 + 300 * 300 + 300 + 300)
    assert count_non_embedding(model) == 2 * one_direction + (600 * 200 + 200) + (200 * 2 + 2) == 1_565_402
    assert count_parameters(model) == 1_565_402 + 30_522 * 300


def test_a_narrower_table_keeps_the_largest_directions():
    table = torch.diag(torch.tensor([1.0, 3.0, 2.0]))
    narrow = reduce_width(table, 2)
    assert narrow.shape == (3, 2)
    torch.testing.assert_close(narrow @ narrow.T, torch.diag(torch.tensor([0.0, 9.0, 4.0])))


def test_a_table_of_low_rank_loses_nothing():
    torch.manual_seed(0)
    table = torch.randn(40, 3) @ torch.randn(3, 8)
    narrow = reduce_width(table, 3)
    torch.testing.assert_close(narrow @ narrow.T, table @ table.T, rtol=1e-4, atol=1e-4)


def test_a_table_of_the_width_stays_as_it_is():
    table = torch.randn(6, 4)
    assert reduce_width(table, 4) is table


@pytest.mark.parametrize(("tokens", "pairs"), FORMS)
@torch.no_grad()
def test_merged_the_projection_answers_as_before(tokens, pairs, tmp_path):
    model = network(tokens, pairs)
    merged = model.merge_projection().eval()
    batch = padded(TEXTS, SECOND, 5, padding=0)
    torch.testing.assert_close(merged(**batch).logits, model(**batch).logits, rtol=0, atol=1e-6)
    assert merged.embedding.weight.shape == (50, 5)
    assert count_non_embedding(merged) == count_non_embedding(model) - 5 * 7
    assert merged.merge_projection() is merged


@pytest.mark.parametrize(("tokens", "pairs"), FORMS)
@torch.no_grad()
def test_saved_and_loaded_it_answers_the_same(tokens, pairs, tmp_path):
    model = network(tokens, pairs)
    model.save_pretrained(tmp_path)
    batch = padded(TEXTS, SECOND, 5, padding=0)
    assert torch.equal(Network.from_pretrained(tmp_path).eval()(**batch).logits, model(**batch).logits)


@pytest.mark.slow
@torch.no_grad()
def test_as_an_onnx_graph_it_takes_batches_and_lengths_of_any_size():
    pytest.importorskip("onnxruntime")
    from kdbench.models.onnx import OnnxModel

    model = network(pairs=True, table_size=5)
    graph = OnnxModel.of(model, padded(TEXTS, SECOND, 5, padding=0))
    other = padded([*TEXTS, [20, 21, 22, 23, 24, 25]], [*SECOND, 3], 8, padding=0)
    torch.testing.assert_close(graph(**other).logits, model(**other).logits, rtol=0, atol=1e-6)


@every_kind
@pytest.mark.parametrize("reduction", ["svd", "projection"])
def test_it_is_trained_on_every_kind(make_bench, task, reduction):
    strategy, bench = made(make_bench, task, init="base", embedding_size=12, reduction=reduction)
    start = build_bilstm(bench, strategy.params).state_dict()
    fitted = strategy.fit(bench)
    unmoved = {name for name, weight in fitted.state_dict().items() if torch.equal(weight, start[name])}
    assert unmoved == set()
    model = strategy.finalize(fitted, bench)
    assert model.embedding.weight.shape[1] == 12
    rows = [bench.task.scored[i] for i in range(3)]
    batch = bench.experiment.collate(rows)
    logits = model(**model_inputs(batch)).logits
    outputs = {"toy-sentiment": 2, "toy-tags": 5, "toy-score": 1}[task]
    assert logits.shape == (*batch["labels"].shape, outputs)


def test_it_learns_which_words_decide(make_bench, tiny_budget):
    budget = tiny_budget.model_copy(
        update={"train_examples": 192, "steps": dict.fromkeys(TaskKind, 80), "evaluations": 1}
    )
    strategy, bench = made(
        make_bench, experiment={"budget": budget}, init="base", learning_rate=0.01, hidden_size=16
    )
    answers = predict(
        strategy.fit(bench), bench.task.scored, bench.experiment.collate, device=bench.experiment.device
    )
    assert METRICS["accuracy"].of(answers, bench.task.task.labels) > 0.9


@pytest.mark.parametrize("init", ["teacher", "base"])
def test_words_are_as_like_each_other_as_in_the_model_that_they_come_from(make_bench, init):
    strategy, bench = made(make_bench, init=init)
    mine = build_bilstm(bench, strategy.params).embedding.weight.detach()
    theirs = (bench.teacher if init == "teacher" else bench.base()).get_input_embeddings().weight.detach()
    torch.testing.assert_close(
        torch.nn.functional.normalize(mine.flatten(), dim=0),
        torch.nn.functional.normalize(theirs.flatten(), dim=0),
    )
    assert mine.square().mean().item() == pytest.approx(1, rel=1e-5)


def test_without_the_teachers_embeddings_no_teacher_is_trained(make_bench, tmp_path):
    strategy, bench = made(make_bench, experiment={"results": tmp_path}, init="base")
    strategy.fit(bench)
    assert not TeacherStore(bench.experiment, 0).exists()


def test_its_start_follows_from_the_seed_alone(make_bench):
    def start(seed, **params):
        strategy, bench = made(make_bench, seed=seed, **params)
        torch.rand(seed + 1)
        return build_bilstm(bench, strategy.params).state_dict()

    first, again, other = start(1), start(1), start(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["rightward.weight_hh_l0"], other["rightward.weight_hh_l0"])
    assert not torch.equal(start(1, init="random")["embedding.weight"], first["embedding.weight"])


def test_glorots_start_is_within_its_bounds(make_bench):
    strategy, bench = made(make_bench, init="base", new_layers="xavier", hidden_size=64)
    model = build_bilstm(bench, strategy.params)
    # Within sqrt(6 / (ins + outs)) and, unlike torch's own start for the layer, up to it.
    bound = (6 / (64 + 4 * 64)) ** 0.5
    largest = model.rightward.weight_hh_l0.abs().max().item()
    assert 0.99 * bound < largest <= bound
    assert model.embedding.weight.square().mean().item() == pytest.approx(1, rel=1e-5)
