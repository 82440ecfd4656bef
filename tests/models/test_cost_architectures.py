"""Operations and weights of every architecture, against counts by hand from the sizes of its matrices."""

import pytest
import torch
from helpers.architectures import INNER, LAYERS, NAMES, WIDTH, config
from transformers import (
    AlbertConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    DebertaV2Config,
    DistilBertConfig,
    ModernBertConfig,
    MPNetConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

from kdbench.models.cost import count_non_embedding, count_parameters, forward_flops

BATCH, LENGTH, LABELS, NARROW = 3, 10, 2, 8
TOKENS = BATCH * LENGTH
GATED = ("modernbert", "eurobert")


def by_hand(name):
    """A multiply-add is two operations."""
    gates = 2 if name in GATED else 1
    projections = 4 * WIDTH * WIDTH + (gates + 1) * WIDTH * INNER
    scores_and_values = 2 * LENGTH * WIDTH  # per position, over all heads
    layers = 2 * LAYERS * TOKENS * (projections + scores_and_values)
    # A dense layer, or the pooler, and the classifier: for a text or, in EuroBERT, for each of its pieces.
    head = 2 * (TOKENS if name == "eurobert" else BATCH) * (WIDTH * WIDTH + WIDTH * LABELS)
    return layers + head + 2 * besides(name)


def besides(name):
    """The multiply-adds that one architecture has and the others lack."""
    if name in ("albert", "electra"):  # embeddings are narrower than states
        return TOKENS * NARROW * WIDTH
    if name == "deberta-v3":
        # 2 x 8 buckets of distances are projected as queries and keys; each is compared with every position.
        return LAYERS * (2 * 16 * WIDTH * WIDTH + 2 * TOKENS * 16 * WIDTH)
    return 0


@pytest.mark.parametrize("name", NAMES)
def test_operations_of_a_text_classifier(name):
    model = AutoModelForSequenceClassification.from_config(config(name)).eval()
    inputs = {
        "input_ids": torch.randint(5, 40, (BATCH, LENGTH)),
        "attention_mask": torch.ones(BATCH, LENGTH, dtype=torch.long),
    }
    assert forward_flops(model, inputs) == by_hand(name)


PUBLISHED = {
    "roberta-base": (
        RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1),
        124_645_632,
    ),
    "xlm-roberta-base": (
        XLMRobertaConfig(vocab_size=250002, max_position_embeddings=514, type_vocab_size=1),
        278_043_648,
    ),
    "distilbert-base-uncased": (DistilBertConfig(), 66_362_880),
    "albert-base-v2": (
        AlbertConfig(
            vocab_size=30000,
            embedding_size=128,
            hidden_size=768,
            num_attention_heads=12,
            intermediate_size=3072,
        ),
        11_683_584,
    ),
    "deberta-v3-base": (
        DebertaV2Config(
            vocab_size=128100,
            hidden_size=768,
            num_hidden_layers=12,
            num_attention_heads=12,
            intermediate_size=3072,
            relative_attention=True,
            position_buckets=256,
            norm_rel_ebd="layer_norm",
            share_att_key=True,
            pos_att_type=["p2c", "c2p"],
            position_biased_input=False,
            type_vocab_size=0,
        ),
        183_831_552,
    ),
    "all-mpnet-base-v2": (MPNetConfig(vocab_size=30527, max_position_embeddings=514), 109_486_464),
    "ModernBERT-base": (ModernBertConfig(), 149_014_272),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_weights_of_published_encoders(name):
    settings, weights = PUBLISHED[name]
    with torch.device("meta"):
        model = AutoModel.from_config(settings)
    assert count_parameters(model) == weights
    table = model.get_input_embeddings().weight.numel()
    assert weights - 600 * settings.hidden_size < count_non_embedding(model) + table <= weights
