"""A site holds the board and all that it is drawn from, and nothing of the machine."""

import pandas as pd
import pytest
from helpers.support import make_record, make_timing, save_predictions

from kdbench.errors import KdbenchError, UsageError
from kdbench.render.html.page import packed
from kdbench.results.records import Record, RecordStore, Status
from kdbench.results.timings import load_timings, put_timing
from kdbench.share.privacy import Private
from kdbench.share.site import build_site, check, check_place, write_site
from kdbench.share.verify import verify

HERS = Private(folders=("/home/alice",), users=("alice",), hosts=("box17",))


@pytest.fixture
def results(tmp_path):
    """Results of alice's: one row that ended well, one that failed and says where."""
    folder = tmp_path / "results"
    store = RecordStore(folder)
    good = make_record("finetune", score=0.5, scored_examples=4, model="/home/alice/models/tiny")
    failed = make_record(
        "lora",
        status=Status.FAILED,
        reason="OSError: /home/alice/data/x.csv is gone (/opt/kd/lora.py, line 3), says box17",
        model="/home/alice/models/tiny",
    )
    source = failed.task.model_copy(update={"source": "folder /mnt/alice/corpora"})
    store.put(good)
    store.put(failed.model_copy(update={"task": source}))
    store.put(make_record("finetune", budget="smoke"))
    put_timing(folder, make_timing({good.key: 5.0, "f" * 20: 6.0}))
    save_predictions(folder, good.key, [True, False, True, False])
    save_predictions(folder, "e" * 20, [True])
    return folder


@pytest.fixture
def build(results, tmp_path):
    """Build a site in a new folder."""

    def make(private=HERS, **settings):
        folder = tmp_path / f"site-{len(list(tmp_path.glob('site-*')))}"
        folder.mkdir()
        return build_site(results, folder, private, budget="quick", **settings)

    return make


def _records(site):
    lines = (site.folder / "records.jsonl").read_text().splitlines()
    return {record.strategy.name: record for record in map(Record.model_validate_json, lines)}


def test_the_site_has_pages_records_timings_and_predictions_of_the_board_alone(build, results):
    site = build()
    (good,) = [record for record in RecordStore(results).load()[0] if record.key in str(site.files)]
    names = set(site.files)
    assert {"README.md", "index.html", "rotten-tomatoes.md", "rotten-tomatoes.csv", "records.jsonl"} <= names
    assert {name for name in names if name.startswith("predictions/")} == {
        f"predictions/{good.key}.safetensors"
    }
    assert set(_records(site)) == {"finetune", "lora"}
    (timing,) = load_timings(site.folder)[0]
    assert [model.key for model in timing.models] == [good.key]
    assert sum(site.files.values()) == sum(
        path.stat().st_size for path in site.folder.rglob("*") if path.is_file()
    )


def test_nothing_in_it_names_alice_her_folders_or_her_machine(build):
    site = build()
    text = "\n".join(
        path.read_text()
        for path in site.folder.rglob("*")
        if path.suffix in (".md", ".csv", ".jsonl", ".json", ".html")
    )
    for word in ("alice", "box17", "/home", "/opt", "/mnt"):
        assert word not in text
    record = _records(site)["lora"]
    assert record.reason == "OSError: <path> is gone (<path>, line 3), says <host>"
    assert record.task.source == "folder <path>"
    assert record.model.name == "tiny"
    assert "OSError: &lt;path&gt; is gone" in (site.folder / "rotten-tomatoes.md").read_text()


def test_scores_keys_and_times_are_as_they_were(build, results):
    before = {record.key: record for record in RecordStore(results).load()[0]}
    for record in _records(build()).values():
        was = before[record.key]
        assert (record.quality, record.size, record.cost, record.seed) == (
            was.quality,
            was.size,
            was.cost,
            was.seed,
        )
        assert record.finished_at == was.finished_at


def test_the_results_are_not_changed(build, results):
    before = {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    build()
    assert {path: path.read_bytes() for path in results.rglob("*") if path.is_file()} == before


def test_a_plugin_s_column_with_a_path_stops_the_publication_and_names_file_and_line(build):
    def columns(table):
        return [pd.DataFrame({"log": ["see /home/alice/log"] * len(table)}, index=table.index)]

    with pytest.raises(
        KdbenchError, match=r"rotten-tomatoes\.\w+, line \d+ still contains '/home/alice/log'"
    ):
        build(columns=columns)


def test_two_rows_that_a_path_alone_told_apart_are_not_merged(build, results):
    for place in ("a", "b"):
        record = make_record(f'bilstm[embeddings="/home/alice/{place}/glove.txt"]')
        RecordStore(results).put(record)
    with pytest.raises(
        KdbenchError, match=r"2 rows would have the same name 'bilstm\[embeddings=\"<path>/glove\.txt\"\]'"
    ):
        build()


def test_two_rows_that_differ_in_a_file_s_name_stay_two(build, results):
    for name in ("a", "b"):
        RecordStore(results).put(make_record(f'bilstm[embeddings="/home/alice/{name}.txt"]'))
    site = build()
    lines = (site.folder / "records.jsonl").read_text()
    assert "<path>/a.txt" in lines
    assert "<path>/b.txt" in lines


def test_metadata_in_a_file_of_predictions_does_not_get_through(build, results):
    import numpy as np
    from safetensors.numpy import load_file, save_file

    (path,) = [path for path in (results / "predictions").iterdir() if path.name[0] != "e"]
    save_file(
        {name: np.array(array) for name, array in load_file(path).items()},
        path,
        {"by": "alice at /home/alice"},
    )
    site = build()
    assert b"alice" not in (site.folder / "predictions" / path.name).read_bytes()


def test_missing_predictions_are_a_remark(build, results):
    for path in (results / "predictions").iterdir():
        path.unlink()
    assert any("no predictions of finetune on rotten-tomatoes, seed 0" in line for line in build().remarks)


def test_without_a_record_there_is_nothing_to_publish(tmp_path, results):
    (tmp_path / "site").mkdir()
    with pytest.raises(UsageError, match="no record of budget 'full'"):
        build_site(results, tmp_path / "site", HERS, budget="full")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (
            "a.svg",
            b"<svg>\n<!-- /home/alice/x.py -->\n</svg>",
            r"a\.svg, line 2 still contains '/home/alice/x\.py'",
        ),
        ("a.png", b"\x89PNG\xff/home/alice/x", r"a\.png still contains '/home/alice'"),
        ("of-alice.md", b"nothing", r"of-alice\.md still contains 'alice'"),
        (
            "index.html",
            f'<html>\n<script type="text/plain" id="content">{packed("/home/alice/x")}</script>'.encode(),
            r"index\.html, line 2 still contains '/home/alice/x'",
        ),
        (
            "a.json",
            b'{"url": "https://a:b@host/x"}',
            r"a\.json, line 1 still contains 'a token, password or address'",
        ),
    ],
)
def test_the_last_check_names_file_and_line(tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(KdbenchError, match=told):
        check(tmp_path, HERS)


def test_a_folder_gets_the_new_site_and_loses_what_the_old_one_had(build, tmp_path, results):
    out = tmp_path / "out"
    out.mkdir()
    (out / "CNAME").write_text("mine")
    first = build()
    write_site(first, out)
    (old,) = (out / "predictions").iterdir()
    for path in (results / "predictions").iterdir():
        path.unlink()
    write_site(build(), out)
    assert not old.exists()
    assert (out / "CNAME").read_text() == "mine"
    assert set(verify(out, _no_strategies()).checked) >= {"records"}


def test_a_folder_that_holds_no_site_loses_nothing(build, tmp_path):
    out = tmp_path / "out"
    (out / "predictions").mkdir(parents=True)
    (out / "predictions" / "mine.safetensors").write_text("precious")
    write_site(build(), out)
    assert (out / "predictions" / "mine.safetensors").read_text() == "precious"


def test_the_results_folder_itself_and_a_file_are_refused(results, tmp_path):
    with pytest.raises(UsageError, match="is the results folder"):
        check_place(results, results)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is not a folder"):
        check_place(tmp_path / "file", results)


def _no_strategies():
    from kdbench.plugins import load_plugins

    return load_plugins([])
