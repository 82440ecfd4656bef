import bz2
import gzip
import os
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdbench.data.readers import read_conll, read_delimited, read_jsonl, read_lines, read_parquet
from kdbench.errors import UsageError


def lines_of(path):
    return list(read_lines(path))


def test_line_ends_are_kept_and_a_byte_order_mark_is_dropped(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\n\xef\xbb\xbfthree")
    assert lines_of(path) == ["one\r\n", "two\n", "\ufeffthree"]


def test_only_a_line_feed_ends_a_line(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("a\u2028b\x0bc\x85d\n", encoding="utf-8")
    assert lines_of(path) == ["a\u2028b\x0bc\x85d\n"]


@pytest.mark.parametrize("pack", [gzip, bz2])
def test_packed_files_are_read_whatever_their_name(tmp_path, pack):
    path = tmp_path / "a.csv"
    with pack.open(path, "wb") as file:
        file.write("schön\nzwei\n".encode())
    assert lines_of(path) == ["schön\n", "zwei\n"]


def test_a_cut_off_gzip_file_is_damaged(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(os.urandom(10_000))[:5_000])
    with pytest.raises(UsageError, match=r"a\.csv\.gz"):
        lines_of(path)


def test_a_zip_archive_is_refused_with_a_remedy(tmp_path):
    path = tmp_path / "a.csv"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inside.csv", "text,label\n")
    with pytest.raises(UsageError, match=r"a\.csv is a zip archive or a spreadsheet; unpack it"):
        lines_of(path)


def test_a_byte_that_is_not_utf8_is_named_with_its_line_and_place(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"fine\nsch" + b"\xf6n\n")
    with pytest.raises(UsageError, match=r"a\.csv, line 2: byte 4 \(0xf6\) is not UTF-8"):
        lines_of(path)


def test_utf16_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("text,label\n".encode("utf-16"))
    with pytest.raises(UsageError, match=r"line 1: byte 1 .* save the file as UTF-8"):
        lines_of(path)


def test_a_nul_byte_is_named_with_its_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"a\nb\0c\n")
    with pytest.raises(UsageError, match="line 2: a NUL byte"):
        lines_of(path)


def test_an_empty_file_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.touch()
    with pytest.raises(UsageError, match=r"a\.csv is empty"):
        lines_of(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"none\.csv does not exist"):
        lines_of(tmp_path / "none.csv")
    with pytest.raises(UsageError, match="is a folder; name a file in it"):
        lines_of(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_without_permission_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text\n")
    path.chmod(0)
    with pytest.raises(UsageError, match="is not readable by this user"):
        lines_of(path)


@pytest.mark.parametrize(
    "text",
    [
        "# id 0a-0\tdomain=train\nAnn _ _ B-PER\nran _ _ O\n\n# id 1\n# _ _ O\n! _ _ O\n",
        "# text = Ann ran\nAnn\tB-PER\nran\tO\n\n# newdoc\n#\tO\n!\tO\n",
        "# sentence 0 O\nAnn B-PER\nran O\n\n# sentence 1 O\n# O\n! O\n",
    ],
)
def test_comments_before_a_sentence_are_skipped_and_the_word_is_not(tmp_path, text):
    (tmp_path / "a.conll").write_text(text)
    assert [words for _, words, _ in read_conll(tmp_path / "a.conll")] == [["Ann", "ran"], ["#", "!"]]


def test_a_line_of_50_megabytes_is_read(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * 50_000_000 + b"\nshort\n")
    assert [len(line) for line in read_lines(path)] == [50_000_001, 6]


@pytest.fixture
def write(tmp_path):
    def write(text, name="train.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode())
        return path

    return write


def values(path, columns=("text", "label"), **options):
    return [tuple(row[name] for name in columns) for _, row in read_delimited(path, columns, **options)]


def test_quoted_values_hold_delimiters_quotes_and_line_ends(write):
    path = write('text,label\r\n"a, ""b""\r\nc",x\r\n\r\nd,y\r\n')
    assert values(path) == [('a, "b"\r\nc', "x"), ("d", "y")]


def test_a_row_is_placed_by_the_line_it_begins_on(write):
    path = write('text,label\n"two\nlines",x\nlast,y\n')
    assert [where for where, _ in read_delimited(path, ["text"])] == [f"{path}, line 2", f"{path}, line 4"]


def test_without_quoting_a_quote_is_a_character(write):
    path = write('sentence\tlabel\n"unbalanced\t0\nsay "no"\t1\n', "train.tsv")
    rows = values(path, ("sentence", "label"), delimiter="\t", quoted=False)
    assert rows == [('"unbalanced', "0"), ('say "no"', "1")]


def test_columns_may_be_named_where_a_file_does_not(write):
    path = write("gj04\t1\t\tHe left.\n", "train.tsv")
    names = ("source", "label", "star", "sentence")
    assert values(path, ("sentence", "label"), delimiter="\t", quoted=False, names=names) == [
        ("He left.", "1")
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; it needs rows"),
        ("text,label\n", "has a header but no rows"),
        ("text,queue\na,b\n", "has no column 'label', only 'text', 'queue'"),
        ("text;label\na;b\n", r"only 'text;label'; its delimiter seems to be ';': set --delimiter ';'"),
        ("Nr.;text, free;label\n1;a;b\n", r"no column 'text', only 'Nr.;text', ' free;label'$"),
        ("body\na\n", r"only 'body' \(is ',' the right delimiter\? .*--delimiter"),
        ("text,label,label\na,b,c\n", "more than one column 'label'"),
        ("text,label\na,b\nc\n", "line 3: 1 values for 2 columns; quote values that contain ','"),
        ("text,label\na,b\nc,d,e\n", "line 3: 3 values for 2 columns"),
        ('text,label\na,b\n"c" d,e\n', "line 3: .* check the quotes"),
        ('text,label\na,b\n"c,d\ne,f\n', "line 3: .* check the quotes"),
        ("text,label\ra,b\r", r"has the line ends of old Macs \(CR\); save it"),
    ],
)
def test_what_is_wrong_in_a_table_is_told_with_line_and_remedy(write, text, message):
    path = write(text)
    with pytest.raises(UsageError, match=message) as caught:
        values(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_known_broken_lines_are_passed_over_only_where_asked(write):
    path = write("id\ttext\tlabel\n1\ta\tx\n2\tb\n3\tc\ty\n", "train.tsv")
    options = {"delimiter": "\t", "quoted": False}
    assert values(path, skip_short=True, **options) == [("a", "x"), ("c", "y")]
    with pytest.raises(UsageError, match="line 3: 2 values for 3 columns"):
        values(path, **options)


@pytest.fixture
def write_jsonl(tmp_path):
    def write_jsonl(text):
        path = tmp_path / "train.jsonl"
        path.write_text(text, encoding="utf-8")
        return path

    return write_jsonl


def test_rows_keep_their_types_and_places(write_jsonl):
    path = write_jsonl(
        '{"text": "\\u00e9\\ud83d\\ude00", "label": 1}\n\n{"label": null, "text": ["a"], "more": 0.5}\n'
    )
    assert list(read_jsonl(path, ["text", "label"])) == [
        (f"{path}, line 1", {"text": "é😀", "label": 1}),
        (f"{path}, line 3", {"text": ["a"], "label": None, "more": 0.5}),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"text": "a", "label": 1}\n{"text": "b"}\n', "line 2: no 'label', only 'text'"),
        ('{"text": "a", "label": 1}\n{"text": "b"\n', "line 2: not JSON"),
        ('[{"text": "a", "label": 1}]\n', "line 1: not an object but list"),
        ("[" * 100_000 + "\n", "line 1: not JSON"),
        ("\n\n", "has only blank lines"),
    ],
)
def test_what_is_wrong_in_an_object_is_told_with_line_and_remedy(write_jsonl, text, message):
    path = write_jsonl(text)
    with pytest.raises(UsageError, match=message) as caught:
        list(read_jsonl(path, ["text", "label"]))
    assert str(path) in str(caught.value)


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


@pytest.fixture
def write_conll(tmp_path):
    def write_conll(text):
        path = tmp_path / "train.conll"
        path.write_bytes(text.encode())
        return path

    return write_conll


def test_four_columns_of_iob1_with_document_lines(write_conll):
    path = write_conll(
        "-DOCSTART- -X- O O\n\nEU NNP I-NP I-ORG\nrejects VBZ I-VP O\n\nPeter NNP I-NP I-PER\nBlackburn NNP I-NP I-PER\n"
    )
    assert list(read_conll(path)) == [
        (f"{path}, line 3", ["EU", "rejects"], ["B-ORG", "O"]),
        (f"{path}, line 6", ["Peter", "Blackburn"], ["B-PER", "I-PER"]),
    ]


def test_tabs_windows_line_ends_and_lines_of_a_lone_tab(write_conll):
    path = write_conll("Empire\tB-facility\r\nState\tI-facility\r\n\t\r\n\r\nno break\tO\r\n")
    assert [(words, tags) for _, words, tags in read_conll(path)] == [
        (["Empire", "State"], ["B-facility", "I-facility"]),
        (["no break"], ["O"]),
    ]


def test_columns_may_be_chosen(write_conll):
    path = write_conll("1 O Mark B-PER\n2 O left O\n")
    assert [(words, tags) for _, words, tags in read_conll(path, word=2, tag=3)] == [
        (["Mark", "left"], ["B-PER", "O"])
    ]


def test_a_no_break_space_is_part_of_a_word(write_conll):
    path = write_conll("10\u00a0000 B-NUM\n\u00a0 O\n")
    assert [words for _, words, _ in read_conll(path)] == [["10\u00a0000", "\u00a0"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "has no sentences"),
        ("a O\nb\n", "line 2: 1 columns; write one word and its tag per line"),
        ("a\tO\nb\t\n", "line 2: the word or its tag is empty"),
        ("a O\n\nb B-PER\nc I-LOC\n", "line 4: 'I-LOC' continues no entity"),
        ("a B-PER\n\nb I-PER\n", "line 3: 'I-PER' continues no entity; tag its first word 'B-PER'"),
        ("a PER\n", "line 1: 'PER' is not a tag of the scheme IOB2"),
        ("a B-PER\nb S-LOC\n", "line 2: 'S-LOC' comes before the entity of 'B-PER' has ended"),
    ],
)
def test_what_is_wrong_in_a_sentence_is_told_with_line_and_remedy(write_conll, text, message):
    path = write_conll(text)
    with pytest.raises(UsageError, match=message) as caught:
        list(read_conll(path))
    assert str(path) in str(caught.value)
