"""An exported tokenizer encodes the first word of a text as it was encoded in scoring."""

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from kdbench.api.kinds import TaskKind
from kdbench.export.formats import write_tokenizer_as_scored


def test_a_byte_level_tokenizer_sees_a_space_before_the_first_word(tmp_path):
    pieces = ["<unk>", "<pad>", *(f"{space}{letter}" for space in ("", "Ġ") for letter in "Anoslo"), "Ġ"]
    backend = Tokenizer(models.BPE({piece: i for i, piece in enumerate(dict.fromkeys(pieces))}, [("Ġ", "A")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", pad_token="<pad>").save_pretrained(
        tmp_path
    )
    first = [AutoTokenizer.from_pretrained(tmp_path).tokenize("Ann")[0]]
    for kind in (TaskKind.SEQUENCE_CLASSIFICATION, TaskKind.TOKEN_CLASSIFICATION):
        write_tokenizer_as_scored(tmp_path, kind)
        first.append(AutoTokenizer.from_pretrained(tmp_path).tokenize("Ann")[0])
    assert first == ["A", "A", "ĠA"]
