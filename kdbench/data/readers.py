"""The readers that tasks are built from; each error names the place and the remedy."""

from kdbench.data.conll import read_conll
from kdbench.data.delimited import read_delimited
from kdbench.data.hub import read_hub
from kdbench.data.jsonl import read_jsonl
from kdbench.data.lines import read_lines
from kdbench.data.parquet import read_parquet
from kdbench.data.tagging import Scheme, TagError, detect_scheme, iob2_labels, to_iob2

__all__ = [
    "Scheme",
    "TagError",
    "detect_scheme",
    "iob2_labels",
    "read_conll",
    "read_delimited",
    "read_hub",
    "read_jsonl",
    "read_lines",
    "read_parquet",
    "to_iob2",
]
