"""What a model can read of what its tokenizer makes."""

import json
import shutil

import pytest
from helpers.model_folders import sharded
from safetensors.torch import save_file
from sentencepiece import sentencepiece_model_pb2
from transformers import AutoConfig, BertModel, BertTokenizerFast, RobertaConfig, RobertaModel

from kdbench.errors import UsageError
from kdbench.models.base import resolve_base_model
from kdbench.models.foreign import load_tokenizer
from kdbench.models.inputs import missing_settings

SIZES = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8}


@pytest.fixture
def model(tiny_model, tmp_path):
    """A copy of the tiny model that may be changed."""
    return shutil.copytree(tiny_model, tmp_path / "my-bert")


def changed(folder, name, **settings):
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


@pytest.mark.parametrize(
    ("architecture", "settings", "positions"),
    [
        ("bert", {"max_position_embeddings": 32}, 32),
        (
            "roberta",
            {"max_position_embeddings": 34, "pad_token_id": 1},
            32,
        ),  # the first is that after padding's
        ("nystromformer", {"max_position_embeddings": 30}, 30),  # its table has two rows more
        ("opt", {"max_position_embeddings": 32, "word_embed_proj_dim": 8}, 32),  # leaves the first two out
        ("deberta-v2", {"max_position_embeddings": 32, "position_biased_input": False}, None),
        ("modernbert", {"max_position_embeddings": 32}, None),  # rotates, and has no table
    ],
)
def test_positions_bound_a_tokenizer_that_states_no_limit(tiny_model, architecture, settings, positions):
    config = AutoConfig.for_model(architecture, vocab_size=60, **SIZES, **settings)
    tokenizer = BertTokenizerFast.from_pretrained(tiny_model, model_max_length=int(1e30))
    assert missing_settings(tokenizer, config).get("model_max_length") == positions
    tokenizer.model_max_length = 16
    assert "model_max_length" not in missing_settings(tokenizer, config)


def test_the_limit_is_saved_with_the_tokenizer(model, tmp_path):
    changed(model, "tokenizer_config.json", model_max_length=int(1e30))
    tokenizer = load_tokenizer(model)
    tokenizer.save_pretrained(tmp_path / "saved")
    assert tokenizer.model_max_length == 64
    assert BertTokenizerFast.from_pretrained(tmp_path / "saved").model_max_length == 64


def test_a_model_of_one_segment_gets_no_segment_ids(model, tmp_path):
    """BERT's tokenizer beside a model that knows one segment: ids of 1 are beyond its table."""
    changed(model, "config.json", type_vocab_size=1)
    load_tokenizer(model).save_pretrained(tmp_path / "saved")
    for tokenizer in (load_tokenizer(model), BertTokenizerFast.from_pretrained(tmp_path / "saved")):
        assert set(tokenizer("good", "film")) == {"input_ids", "attention_mask"}


def test_ids_beyond_the_embedding_table_are_refused_before_the_run(model, cache_dir):
    tokenizer = BertTokenizerFast.from_pretrained(model)
    tokenizer.add_tokens(["covid"])
    tokenizer.save_pretrained(model)
    size = len(tokenizer)
    with pytest.raises(UsageError, match=rf"'covid' the id {size - 1}, but its embedding table has only"):
        resolve_base_model(str(model), cache_dir)
    changed(model, "config.json", vocab_size=size)
    resolve_base_model(str(model), cache_dir)


def test_shards_need_their_index_and_each_other(model, cache_dir):
    names = sharded(model)
    resolve_base_model(str(model), cache_dir)
    (model / names[1]).rename(model / "aside")
    with pytest.raises(UsageError, match=rf"lacks {names[1]}, a shard of model.safetensors.index.json"):
        resolve_base_model(str(model), cache_dir)
    (model / "aside").rename(model / names[1])
    (model / "model.safetensors.index.json").unlink()
    with pytest.raises(UsageError, match=r"without their index \(model.safetensors.index.json\)"):
        resolve_base_model(str(model), cache_dir)


LETTERS = "abcdefghijklmnopqrstuvwxyz"
SPECIALS = {"deberta-v2": ["[PAD]", "[CLS]", "[SEP]", "[UNK]"], "xlm-roberta": ["<unk>", "<s>", "</s>"]}


def sentence_pieces(path, specials):
    """Write a SentencePiece model that knows two words whole."""
    made = sentencepiece_model_pb2.ModelProto()
    for piece in (*specials, "▁good", "▁film", "▁", *LETTERS):
        kind = 1 if piece not in specials else 2 if "unk" in piece.lower() else 3
        made.pieces.add(piece=piece, score=-1.0 - len(made.pieces), type=kind)
    made.trainer_spec.model_type = 1
    made.trainer_spec.unk_id = next(i for i, piece in enumerate(made.pieces) if piece.type == 2)
    path.write_bytes(made.SerializeToString())


@pytest.mark.parametrize(
    ("architecture", "file"), [("deberta-v2", "spm.model"), ("xlm-roberta", "sentencepiece.bpe.model")]
)
def test_a_sentencepiece_model_alone_is_a_tokenizer(tmp_path, cache_dir, architecture, file):
    config = AutoConfig.for_model(architecture, vocab_size=60, **SIZES)
    config.save_pretrained(tmp_path)
    save_file(dict(RobertaModel(RobertaConfig(**SIZES)).state_dict()), tmp_path / "model.safetensors")
    with pytest.raises(UsageError, match=r"has no tokenizer \(tokenizer.json or .* such as spm.model"):
        resolve_base_model(str(tmp_path), cache_dir)
    sentence_pieces(tmp_path / file, SPECIALS[architecture])
    first = resolve_base_model(str(tmp_path), cache_dir)
    assert load_tokenizer(tmp_path).tokenize("good film") == ["▁good", "▁film"]
    (tmp_path / file).write_bytes(b"\xff\xff damaged")
    with pytest.raises(UsageError, match=f"{file} is damaged, or no SentencePiece model"):
        resolve_base_model(str(tmp_path), cache_dir)
    sentence_pieces(tmp_path / file, [*SPECIALS[architecture], "<extra>"])
    assert resolve_base_model(str(tmp_path), cache_dir).sha256 != first.sha256


def test_vocab_json_and_merges_txt_are_a_tokenizer(tmp_path, cache_dir):
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "Ġ", *LETTERS, "oo"]
    (tmp_path / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    config = RobertaConfig(vocab_size=60, **SIZES)
    RobertaModel(config).save_pretrained(tmp_path)
    with pytest.raises(UsageError, match=r"has no tokenizer .* vocab.json with merges.txt"):
        resolve_base_model(str(tmp_path), cache_dir)
    (tmp_path / "merges.txt").write_text("#version: 0.2\no o\n")
    resolve_base_model(str(tmp_path), cache_dir)
    assert load_tokenizer(tmp_path).tokenize("good") == ["g", "oo", "d"]


def test_old_files_beside_a_fast_tokenizer_change_nothing(model, cache_dir):
    """They may have been fetched or not: a key that depended on them would run cells again."""
    before = resolve_base_model(str(model), cache_dir).sha256
    (model / "vocab.json").write_text("{}")
    (model / "spm.model").write_text("x")
    assert resolve_base_model(str(model), cache_dir).sha256 == before


def test_a_bert_is_as_it_was(tiny_model):
    assert missing_settings(load_tokenizer(tiny_model), BertModel.from_pretrained(tiny_model).config) == {}
