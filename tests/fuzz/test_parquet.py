"""An odd Parquet file is refused in one line that names it, or read as pyarrow's reader of whole tables reads it."""

from __future__ import annotations

import io
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzz.judge import fuzz, taken
from fuzz.mutate import damaged
from hypothesis import given
from hypothesis import strategies as st

from kdbench.data.readers import read_parquet


def _parquet(columns: dict[str, Any], **how: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, **how)
    return file.getvalue()


SEEDS = [
    _parquet({"text": ["fine", "so so", None] * 4, "label": [1, 0, 1] * 4}),
    _parquet(
        {"text": ["fine", "schön"] * 3, "label": ["yes", "no"] * 3}, compression="zstd", row_group_size=2
    ),
    _parquet({"text": [["two", "words"], []], "label": [["O", "B-PER"], []]}, compression="none"),
    _parquet(
        {"text": ["a"], "label": [True], "more": [datetime(2026, 11, 3, tzinfo=timezone.utc)]}, version="1.0"
    ),
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file after the other."""
    return tmp_path_factory.mktemp("parquet") / "a.parquet"


def judge(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    rows, problem = taken(lambda: list(read_parquet(path, ["text", "label"])), path)
    if problem is None:
        table = pq.read_table(io.BytesIO(content), columns=["text", "label"])
        assert repr([row for _, row in rows]) == repr(table.to_pylist())


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (
            pa.Table.from_arrays(
                [pa.array(["a"]), pa.array([1]), pa.array(["b"])], ["text", "label", "text"]
            ),
            "has more than one column 'text'; rename all but one",
        ),
        (
            pa.table({"text": ["a"], "label": pa.array([2**31 - 1], pa.date32())}),
            "a value cannot be read (days=2147483647; must have magnitude <= 999999999); store texts",
        ),
    ],
)
def test_found_and_refused(path: Path, table: pa.Table, told: str) -> None:
    pq.write_table(table, path)
    _, problem = taken(lambda: list(read_parquet(path, ["text", "label"])), path)
    assert told in (problem or "")


@fuzz(1000)
@given(content=damaged(SEEDS))
def test_odd_bytes(path: Path, content: bytes) -> None:
    judge(path, content)


_TYPES = st.sampled_from(
    [
        *(
            pa.int8(),
            pa.uint64(),
            pa.float16(),
            pa.float32(),
            pa.bool_(),
            pa.string(),
            pa.large_string(),
            pa.binary(),
        ),
        *(
            pa.date32(),
            pa.date64(),
            pa.timestamp("ns"),
            pa.timestamp("s", "Nowhere/City"),
            pa.time64("us"),
            pa.null(),
        ),
        *(pa.decimal128(38, 2), pa.duration("s"), pa.dictionary(pa.int32(), pa.string()), pa.binary(3)),
        *(
            pa.list_(pa.string()),
            pa.large_list(pa.int64()),
            pa.struct([("a", pa.int8())]),
            pa.map_(pa.string(), pa.int8()),
        ),
    ]
)
"""Of columns; a file of any of them can be written without a mistake."""
_VALUES = {
    **{
        key: [0, 2**31 - 1, -(2**31)]
        for key in [pa.date32(), pa.time64("us"), pa.duration("s"), pa.timestamp("ns")]
    },
    pa.date64(): [0, 2**62 // 86_400_000 * 86_400_000],
    pa.timestamp("s", "Nowhere/City"): [0, 2**40],
    pa.struct([("a", pa.int8())]): [{"a": 1}],
    pa.map_(pa.string(), pa.int8()): [[("a", 1)]],
    pa.list_(pa.string()): [["a"]],
    pa.large_list(pa.int64()): [[1]],
    pa.bool_(): [True],
    pa.null(): [None],
    **{key: [b"\xff\xfea"] for key in [pa.binary(), pa.binary(3)]},
    **{key: ["a"] for key in [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]},
}


@fuzz(100)
@given(
    types=st.tuples(_TYPES, _TYPES),
    names=st.sampled_from([["text", "label"], ["text", "label", "text"], ["label", "a.text"]]),
)
def test_odd_types(path: Path, types: tuple[pa.DataType, pa.DataType], names: list[str]) -> None:
    columns = [pa.array(_VALUES.get(kind, [1]), kind) for kind in (*types, types[0])[: len(names)]]
    length = min(map(len, columns))
    file = io.BytesIO()
    try:
        pq.write_table(pa.table([column[:length] for column in columns], names=names), file)
    except pa.ArrowException:  # not every type can be stored
        return
    judge(path, file.getvalue())
