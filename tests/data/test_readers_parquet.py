import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdbench.data.readers import read_parquet
from kdbench.errors import UsageError


def test_rows_come_in_order_across_batches_with_categories_as_names(tmp_path):
    path = tmp_path / "train.parquet"
    texts = [f"text {i}" for i in range(12_000)]
    labels = pa.array(["a", "b", "c"] * 4_000).dictionary_encode()
    pq.write_table(pa.table({"text": texts, "label": labels, "more": range(12_000)}), path)
    rows = list(read_parquet(path, ["text", "label"]))
    assert [row["text"] for _, row in rows] == texts
    assert rows[-1] == (f"{path}, row 12000", {"text": "text 11999", "label": "c"})


def test_a_missing_column_no_rows_and_another_format_are_refused(tmp_path):
    path = tmp_path / "train.parquet"
    pq.write_table(pa.table({"body": ["a"]}), path)
    with pytest.raises(UsageError, match=r"train\.parquet has no column 'text', only 'body'"):
        list(read_parquet(path, ["text"]))
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), path)
    with pytest.raises(UsageError, match="has no rows"):
        list(read_parquet(path, ["text"]))
    path.write_text("text,label\na,b\n")
    with pytest.raises(UsageError, match=r"train\.parquet is not a Parquet file, or is damaged"):
        list(read_parquet(path, ["text"]))
    with pytest.raises(UsageError, match="does not exist"):
        list(read_parquet(tmp_path / "none.parquet", ["text"]))
