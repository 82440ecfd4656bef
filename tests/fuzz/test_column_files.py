"""An odd column file is refused in one line that names the place, or read as a plain reader and seqeval read it."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz.judge import fuzz, taken
from fuzz.mutate import damaged
from hypothesis import given
from hypothesis import strategies as st
from seqeval.scheme import BILOU, IOB1, IOB2, IOBES, Entities

from kdbench.data.readers import read_conll
from kdbench.data.tagging import Scheme, detect_scheme

SEEDS = [
    b"-DOCSTART- -X- O O\n\nAnna NNP B-NP B-PER\nlives VBZ B-VP O\nin IN B-PP O\nNew NNP B-NP B-LOC\nYork NNP I-NP I-LOC\n\n"
    b"Oslo NNP B-NP B-LOC\n",
    b"# id = 1\nAnna\tI-PER\nBruno\tB-PER\nand\tO\n\n# id = 2\nOslo\tI-LOC\n",
    "\ufeffZoë\tB-PER\tO\r\nOslo\tE-PER\tO\r\n\r\n#\tO\tO\r\nparis\tS-LOC\tO\r\n".encode(),
    b"New B-LOC\nYork L-LOC\nAnna U-PER\nx O\n",
]
_OF_SEQEVAL = {Scheme.IOB1: IOB1, Scheme.IOB2: IOB2, Scheme.BIOES: IOBES, Scheme.BILOU: BILOU}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file after the other."""
    return tmp_path_factory.mktemp("columns") / "a.conll"


@fuzz(1500)
@given(content=damaged(SEEDS), tag=st.sampled_from([-1, -1, 1]))
def test_odd_columns(path: Path, content: bytes, tag: int) -> None:
    path.write_bytes(content)
    sentences, problem = taken(lambda: list(read_conll(path, tag=tag)), path)
    if problem is not None:
        return
    expected = plain_sentences(content.decode("utf-8-sig"), tag)
    assert [words for _, words, _ in sentences] == [[word for word, _ in rows] for rows in expected]
    tags = [[tag for _, tag in rows] for rows in expected]
    scheme = _OF_SEQEVAL[detect_scheme(tags)]
    assert entities([tags for _, _, tags in sentences], IOB2) == entities(tags, scheme)


def plain_sentences(text: str, tag: int) -> list[list[tuple[str, str]]]:
    """Return the words and tags of each sentence in `text`, of which all that is read is well-formed."""
    blocks: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.strip(" \t\r"):
            blocks[-1].append(line.rstrip("\r"))
        else:
            blocks.append([])
    blocks = [[line for line in block if not _columns(line)[0].startswith("-DOCSTART-")] for block in blocks]
    lines = [line for block in blocks for line in block if not line.startswith("#")]
    shape = _shape(lines[0]) if lines else None
    rows = ([_columns(line) for line in _without_comments(block, shape)] for block in blocks)
    return [[(row[0], row[tag]) for row in block] for block in rows if block]


def _columns(line: str) -> list[str]:
    parts = line.split("\t") if "\t" in line else [part for part in line.split(" ") if part]
    return [part.strip(" \t\r") for part in parts]


def _shape(line: str) -> tuple[bool, int]:
    return "\t" in line, len(_columns(line))


def _without_comments(block: list[str], shape: tuple[bool, int] | None) -> list[str]:
    while block and block[0].startswith("#") and _shape(block[0]) != shape:
        block = block[1:]
    return block


def entities(sentences: list[list[str]], scheme: type) -> list[set[tuple[int, int, int, str]]]:
    found = Entities(sentences, scheme)
    return [{(one.sent_id, one.start, one.end, one.tag) for one in sentence} for sentence in found.entities]
