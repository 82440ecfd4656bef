"""Of a folder with an odd file `verify` reports, and `board --from` and `watch` show what can be shown; nothing raises."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import pandas as pd
import pytest
from fuzz.judge import bounded, check_line, fuzz, taken
from fuzz.mutate import damaged, odd_json
from helpers.support import NOON
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from kdbench.board.load import load_cells
from kdbench.board.sources import opened, read_results, read_source
from kdbench.config import RunConfig
from kdbench.live.follow import Follow, Place
from kdbench.live.recorder import LiveCell, LiveState, LiveTiming, read_state
from kdbench.registry import Registry
from kdbench.render.html.content import page_content
from kdbench.render.terminal import render_terminal
from kdbench.render.write import write_board
from kdbench.results.paths import RECORDS_FILE
from kdbench.share.verify import verify
from kdbench.share.verify_report import print_report

FILES = ["records", "records", "records", "timings", "predictions"]
_NUMBERS = st.integers(0, 1 << 10)


@pytest.fixture(scope="module")
def submitted(small_run: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a run of four cells left."""
    ignored = shutil.ignore_patterns("models", "teachers", "logs", "tensorboard")
    return Path(
        shutil.copytree(small_run.results, tmp_path_factory.mktemp("odd") / "submitted", ignore=ignored)
    )


@pytest.fixture(scope="module")
def files(submitted: Path) -> dict[str, list[tuple[Path, bytes]]]:
    """The valid files by folder."""
    return {
        part: [(path, path.read_bytes()) for path in sorted((submitted / part).iterdir())]
        for part in set(FILES)
    }


@pytest.fixture(scope="module")
def board(submitted: Path) -> Path:
    """The folder of a board of that run."""
    draw(submitted, submitted.with_name("board"))
    return submitted.with_name("board")


@contextmanager
def one_odd_file(
    data: st.DataObject, files: dict[str, list[tuple[Path, bytes]]]
) -> Iterator[tuple[Path, bytes]]:
    """Make one of `files` odd for the duration of the block, and check that nothing is written beside it."""
    of_part = files[data.draw(st.sampled_from(FILES))]
    path, content = of_part[data.draw(_NUMBERS) % len(of_part)]
    texts = odd_json([content.decode()], most=2) if path.suffix == ".json" else st.nothing()
    odd = data.draw(
        st.one_of(texts.map(lambda text: text.encode("utf-8", "surrogatepass")), damaged([content], most=2))
    )
    path.write_bytes(odd)
    root = path.parent.parent
    before = {path for path in root.parent.rglob("*") if "board" not in path.parts}
    try:
        yield path, odd
        assert {path for path in root.parent.rglob("*") if "board" not in path.parts} == before
        assert path.read_bytes() == odd
    finally:
        path.write_bytes(content)


@fuzz(60)
@given(data=st.data())
def test_verify(
    data: st.DataObject, submitted: Path, files: dict[str, list[tuple[Path, bytes]]], registry: Registry
) -> None:
    with one_odd_file(data, files):
        with bounded():
            report = verify(submitted, registry)
        text = io.StringIO()
        print_report(report, Console(file=text, width=200))
        for line in text.getvalue().splitlines():
            check_line(line)
        json.dumps(report.data(), allow_nan=False)


@fuzz(12)
@given(data=st.data())
def test_board(
    data: st.DataObject, submitted: Path, files: dict[str, list[tuple[Path, bytes]]], board: Path
) -> None:
    with one_odd_file(data, files):
        _, problem = taken(lambda: draw(submitted, board))
        assert problem is None  # three of four cells can be shown


def draw(submitted: Path, board: Path) -> None:
    with opened([str(submitted)], "--from") as source:
        summary = write_board(source, board, budget="smoke", papers=True)
        loaded = load_cells(source, budget="smoke")
        content = page_content(summary.rows, pd.DataFrame(), loaded, source.root)
    json.dumps(content, allow_nan=False).encode()
    text = io.StringIO()
    for table in render_terminal(summary.rows):
        Console(file=text, width=200).print(table)
    for line in (*text.getvalue().splitlines(), *summary.problems):
        check_line(line)
    for path in summary.written:
        assert path.parent == board
    scores = pd.read_parquet(board / "cells.parquet").set_index("key")["score"]
    for record in loaded.records:
        assert record.quality is None or scores[record.key] == record.quality.score
    assert read_source(board / RECORDS_FILE).unreadable == ()


@fuzz(150)
@given(data=st.data())
def test_lines_of_records(
    data: st.DataObject, submitted: Path, files: dict[str, list[tuple[Path, bytes]]]
) -> None:
    lines = [b"".join(json.dumps(json.loads(content)).encode() + b"\n" for _, content in files["records"])]
    path = submitted.with_name("records.jsonl")
    path.write_bytes(data.draw(damaged(lines)))
    source, problem = taken(lambda: read_source(path), path)
    if problem is None:
        for line in source.unreadable:
            check_line(line, path)
        assert 1 <= len(source.records) <= len(lines[0])


@fuzz(100)
@given(data=st.data())
def test_live_state(data: st.DataObject, submitted: Path, board: Path) -> None:
    seed = LiveState(
        budget="smoke",
        model="tiny-bert",
        weights_sha256=read_results(submitted).records[0].model.weights_sha256,
        board=str(board),
        started_at=NOON,
        told_at=NOON,
        cells=(LiveCell(strategy="linear-probe", task="toy-tags", seed=0, losses=((1, 0.5),)),),
        timings=(LiveTiming(name="latency"),),
    ).model_dump_json()
    odd = odd_json([seed]).map(lambda text: text.encode("utf-8", "surrogatepass"))
    (submitted / "live.json").write_bytes(data.draw(st.one_of(odd, damaged([seed.encode()]))))
    since = data.draw(st.sampled_from([None, datetime(2026, 1, 1, tzinfo=timezone.utc)]))
    follow = Follow(Place(submitted, None, board, "smoke", None, since))
    with bounded():
        state = json.loads(follow.state())
        if data.draw(st.integers(0, 19)) == 19:  # it takes a second
            follow.content()
    run, _ = read_state(submitted)
    assert (state["problem"] is None) == (run is not None)
    if state["problem"] is not None:
        check_line(state["problem"])
