import pytest
import torch
from transformers import (
    AlbertConfig,
    AutoModel,
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    LongformerConfig,
    LongformerForSequenceClassification,
    ModernBertConfig,
    RobertaConfig,
)

from kdbench.api.params import StudentParams
from kdbench.api.task import TaskKind
from kdbench.config import EMBEDDED_NAME
from kdbench.data import default_cache_dir
from kdbench.errors import UsageError
from kdbench.models.build import build_student, load_base
from kdbench.models.cost import count_parameters
from kdbench.models.embedded import EMBEDDED
from kdbench.models.layers import layers_to_keep

LABELS = {
    TaskKind.SEQUENCE_CLASSIFICATION: ("no", "yes", "maybe"),
    TaskKind.MULTI_LABEL_CLASSIFICATION: ("fast", "small", "cheap"),
    TaskKind.SEQUENCE_REGRESSION: (),
    TaskKind.TOKEN_CLASSIFICATION: ("O", "B-X", "I-X"),
}
SENTENCES = TaskKind.SEQUENCE_CLASSIFICATION
SHAPE = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 6,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
ARCHITECTURES = {
    "bert": BertConfig(**SHAPE),
    "roberta": RobertaConfig(**SHAPE, pad_token_id=1),
    "distilbert": DistilBertConfig(vocab_size=40, dim=16, n_layers=6, n_heads=2, hidden_dim=24),
    "electra": ElectraConfig(**SHAPE, embedding_size=8),
    "modernbert": ModernBertConfig(
        **SHAPE, pad_token_id=0, bos_token_id=2, eos_token_id=3, cls_token_id=2, sep_token_id=3
    ),
}
BATCH = {
    "input_ids": torch.tensor([[2, 7, 8, 9, 3], [2, 30, 31, 12, 3]]),
    "attention_mask": torch.ones(2, 5, dtype=torch.long),
}


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoders")
    torch.manual_seed(0)
    for name, config in ARCHITECTURES.items():
        AutoModel.from_config(config).save_pretrained(folder / name)
    AutoModel.from_config(AlbertConfig(**SHAPE, embedding_size=8)).save_pretrained(folder / "albert")
    return folder


def student_of(folder, kind=SENTENCES, *, seed=1, **params):
    """Return a student, and the base and the teacher that it could come from."""

    def teacher():
        model = load_base(folder, kind, LABELS[kind], seed=2)
        with torch.no_grad():  # a teacher was trained: none of its weights is the base's
            for weight in model.parameters():
                weight.add_(0.01 * torch.randn_like(weight))
        return model

    def base():
        return load_base(folder, kind, LABELS[kind], seed=seed)

    start = teacher() if params.get("init", "teacher") == "teacher" else base()
    student = build_student(StudentParams(**params), start=start, kind=kind, seed=seed)
    return student.eval(), base().eval(), teacher().eval()


def layers_of(model):
    (stack,) = (
        module
        for module in model.base_model.modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == model.config.num_hidden_layers
    )
    return stack


@torch.no_grad()
def answers(model):
    return model(**BATCH).logits


@pytest.mark.parametrize(
    ("layers", "depth", "kept"),
    [
        (3, 6, (0, 2, 4)),
        (6, 6, (0, 1, 2, 3, 4, 5)),
        (1, 6, (0,)),
        (4, 6, (0, 1, 3, 4)),
        (6, 12, (0, 2, 4, 6, 8, 10)),
        ((1, 4, 5), 6, (1, 4, 5)),
        ((5,), 6, (5,)),
    ],
)
def test_layers_are_evenly_spaced_or_as_named(layers, depth, kept):
    assert layers_to_keep(layers, depth) == kept


@pytest.mark.parametrize("depth", range(1, 25))
def test_any_number_of_layers_starts_with_the_first_and_rises(depth):
    for count in range(1, depth + 1):
        kept = layers_to_keep(count, depth)
        assert len(kept) == count
        assert kept[0] == 0
        assert list(kept) == sorted(set(kept))
        assert kept[-1] < depth


@pytest.mark.parametrize("layers", [0, -1, 7, (), (0, 0), (2, 1), (0, 6), (-1, 2)])
def test_layers_that_the_base_lacks_are_refused_with_what_it_has(layers):
    with pytest.raises(UsageError, match=r"between 1 and 6|from 0 to 5"):
        layers_to_keep(layers, 6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_student_with_every_layer_of_the_teacher_answers_as_the_teacher(encoders, architecture):
    student, _, teacher = student_of(encoders / architecture, layers=6)
    torch.testing.assert_close(answers(student), answers(teacher), rtol=0, atol=0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("init", ["teacher", "base"])
def test_layers_of_a_student_are_those_it_keeps_bit_for_bit(encoders, architecture, init):
    student, base, teacher = student_of(encoders / architecture, layers=[0, 3, 5], init=init)
    source = layers_of(teacher if init == "teacher" else base)
    other = layers_of(base if init == "teacher" else teacher)
    assert len(layers_of(student)) == student.config.num_hidden_layers == 3
    for layer, kept in zip(layers_of(student), (0, 3, 5), strict=True):
        weights, taken = layer.state_dict(), source[kept].state_dict()
        assert weights.keys() == taken.keys()
        assert all(torch.equal(weights[name], taken[name]) for name in weights)
        assert not all(torch.equal(weights[name], other[kept].state_dict()[name]) for name in weights)
    embeddings = (teacher if init == "teacher" else base).get_input_embeddings().weight
    assert torch.equal(student.get_input_embeddings().weight, embeddings)


@pytest.mark.parametrize("kind", TaskKind)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("params", [{"layers": 3}, {"layers": 2, "hidden_size": 8}, {"init": "random"}])
def test_a_student_answers_the_same_after_saving_and_loading(encoders, architecture, params, kind, tmp_path):
    student, _, _ = student_of(encoders / architecture, kind, **params)
    student.save_pretrained(tmp_path)
    reloaded = type(student).from_pretrained(tmp_path).eval()
    torch.testing.assert_close(answers(reloaded), answers(student), rtol=0, atol=1e-6)
    outputs = 1 if kind is TaskKind.SEQUENCE_REGRESSION else 3
    assert answers(student).shape == ((2, 5, 3) if kind is TaskKind.TOKEN_CLASSIFICATION else (2, outputs))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_another_width_means_fresh_weights_of_that_width(encoders, architecture):
    student, base, _ = student_of(encoders / architecture, layers=2, hidden_size=8)
    config = student.config
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (8, 2, 2)
    square = [weight.shape for weight in layers_of(student).parameters() if weight.ndim == 2]
    assert (8, 8) in square
    assert all(max(shape) <= 24 for shape in square)  # queries, keys and values in one: 3 x 8
    assert count_parameters(student) < count_parameters(base) / 2


def test_feed_forward_layers_keep_their_proportion_to_the_width(encoders):
    for architecture in ("bert", "distilbert"):
        student, _, _ = student_of(encoders / architecture, layers=1, hidden_size=8)
        shapes = {tuple(weight.shape) for weight in layers_of(student).parameters()}
        assert {(12, 8), (8, 12)} <= shapes


def test_random_weights_follow_from_the_seed_and_from_nothing_of_the_base(encoders):
    first, base, _ = student_of(encoders / "bert", layers=2, init="random", seed=4)
    torch.rand(17)  # whatever was drawn before
    again, _, _ = student_of(encoders / "bert", layers=2, init="random", seed=4)
    other, _, _ = student_of(encoders / "bert", layers=2, init="random", seed=5)
    assert torch.equal(answers(first), answers(again))
    assert not torch.equal(answers(first), answers(other))
    assert not torch.equal(first.get_input_embeddings().weight, base.get_input_embeddings().weight)


def test_a_width_that_the_heads_cannot_share_is_refused_with_one_they_can(encoders):
    with pytest.raises(UsageError, match=r"hidden_size=9 .* multiple of 2"):
        student_of(encoders / "bert", layers=2, hidden_size=9)


def test_a_layer_that_all_share_is_passed_through_less_often(encoders):
    student, base, _ = student_of(encoders / "albert", layers=3, init="base")
    assert (student.config.num_hidden_layers, base.config.num_hidden_layers) == (3, 6)
    assert count_parameters(student) == count_parameters(base)
    with torch.no_grad():
        states = base(**BATCH, output_hidden_states=True).hidden_states
        mine = student(**BATCH, output_hidden_states=True).hidden_states
    assert len(mine) == 4
    assert all(torch.equal(one, other) for one, other in zip(mine, states, strict=False))


def test_layers_that_cannot_be_saved_as_the_first_are_refused(encoders):
    """ModernBERT's first layer has no normalization before its attention."""
    with pytest.raises(
        UsageError, match=r"layers=\[1, 2\]: in ModernBert.* not every layer can be the first .*attn_norm"
    ):
        student_of(encoders / "modernbert", layers=(1, 2))
    student_of(encoders / "modernbert", layers=(0, 2))


def test_a_fresh_head_follows_from_the_seed_and_the_encoder_from_the_folder(encoders):
    labels = LABELS[SENTENCES]
    torch.rand(5)
    first, second, other = (load_base(encoders / "bert", SENTENCES, labels, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.classifier.weight, second.classifier.weight)
    assert not torch.equal(first.classifier.weight, other.classifier.weight)
    query = "bert.encoder.layer.2.attention.self.query.weight"
    assert torch.equal(first.state_dict()[query], other.state_dict()[query])


def test_labels_are_known_by_name_in_their_order(encoders):
    config = load_base(encoders / "bert", SENTENCES, ("no", "yes", "maybe"), seed=0).config
    assert config.id2label == {0: "no", 1: "yes", 2: "maybe"}
    assert config.label2id == {"no": 0, "yes": 1, "maybe": 2}
    assert load_base(encoders / "bert", TaskKind.SEQUENCE_REGRESSION, (), seed=0).config.num_labels == 1


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "electra"])
def test_dropout_reaches_every_dropout_layer(encoders, architecture):
    model = load_base(encoders / architecture, SENTENCES, LABELS[SENTENCES], seed=0, dropout=0.25)
    rates = {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)}
    assert rates == {0.25}


def test_weights_in_half_precision_are_trained_in_single(encoders, tmp_path):
    AutoModel.from_pretrained(encoders / "bert").half().save_pretrained(tmp_path)
    for params in ({"layers": 2}, {"layers": 2, "hidden_size": 8}):
        student, base, _ = student_of(tmp_path, **params)
        assert {weight.dtype for model in (student, base) for weight in model.parameters()} == {torch.float32}


def test_bert_base_has_its_published_number_of_parameters():
    with torch.device("meta"):
        model = AutoModel.from_config(BertConfig())
    assert count_parameters(model) == 109_482_240


def test_the_embedded_model_has_its_published_number_of_parameters():
    model = AutoModel.from_pretrained(EMBEDDED[EMBEDDED_NAME].fetch(default_cache_dir()))
    assert count_parameters(model) == 22_713_216
    assert model.config.num_hidden_layers == 6


@pytest.mark.parametrize("labels", [("no", "yes"), ("a", "b", "c")])
@pytest.mark.parametrize("new_layers", ["normal", "xavier"])
def test_the_head_of_another_task_is_not_kept(encoders, tmp_path, labels, new_layers):
    folder = encoders / "roberta"
    tuned = load_base(folder, SENTENCES, ("bad", "good"), seed=5)
    tuned.config.problem_type = "multi_label_classification"
    tuned.config.finetuning_task = "mrpc"
    tuned.save_pretrained(tmp_path)
    fresh = load_base(folder, SENTENCES, labels, seed=1, new_layers=new_layers)
    found = load_base(tmp_path, SENTENCES, labels, seed=1, new_layers=new_layers)
    kept = load_base(tmp_path, SENTENCES, ("bad", "good"), seed=1, fresh_head=False)
    assert all(map(torch.equal, kept.parameters(), tuned.parameters()))
    heads = [
        {
            name: weight
            for name, weight in model.named_parameters()
            if not name.startswith(model.base_model_prefix)
        }
        for model in (tuned, fresh, found)
    ]
    for name, weight in heads[2].items():
        assert weight.shape == heads[1][name].shape
        if weight.dim() > 1:
            assert weight.shape != heads[0][name].shape or not torch.equal(weight, heads[0][name])
            assert 0.5 < weight.std() / heads[1][name].std() < 2
    assert found.config.problem_type == SENTENCES.problem_type
    assert getattr(found.config, "finetuning_task", None) is None


def test_an_encoder_of_other_sizes_than_its_configuration_is_refused(encoders, tmp_path):
    folder = encoders / "roberta"
    model = load_base(folder, SENTENCES, ("no", "yes"), seed=1)
    model.config.vocab_size += 1
    model.save_pretrained(tmp_path)
    with pytest.raises(UsageError, match=r"embeddings\.weight has the size .*; fetch the model again"):
        load_base(tmp_path, SENTENCES, ("no", "yes"), seed=1)


@pytest.mark.parametrize("init", ["teacher", "random"])
def test_what_a_configuration_says_of_each_layer_is_kept_with_the_layers(tmp_path, init):
    """Longformer's windows, which its layers read as they are built."""
    windows = [2, 4, 6, 8]
    config = LongformerConfig(**{**SHAPE, "num_hidden_layers": 4}, attention_window=windows)
    start = LongformerForSequenceClassification(config)
    params = StudentParams(layers=(1, 3), init=init)
    student = build_student(params, start=start, kind=SENTENCES, seed=0).eval()
    assert student.config.attention_window == [4, 8]
    student.save_pretrained(tmp_path)
    again = LongformerForSequenceClassification.from_pretrained(tmp_path).eval()
    pieces = torch.arange(4, 14)[None]
    torch.testing.assert_close(
        student(input_ids=pieces).logits, again(input_ids=pieces).logits, rtol=0, atol=1e-6
    )
