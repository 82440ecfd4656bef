import re
import signal
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import helpers.failing_plugin
import helpers.waiting_plugin
import pytest
from helpers.commands import PATIENCE_S, Command, Started
from helpers.drawn_board import EVIL, make_results
from helpers.support import make_record, save_predictions

from kdbench.config import default_cache_dir
from kdbench.live.follow import Follow, Place
from kdbench.live.recorder import CellState, Ending, LiveCell, LiveState, LiveTiming, write_state
from kdbench.live.server import live_answers, served
from kdbench.render.write import write_board
from kdbench.results.records import RecordStore

RUNNING = {
    "state": CellState.RUNNING,
    "phase": "training",
    "done": 30,
    "total": 120,
    "loss": 0.5,
    "losses": ((10, 1.0), (20, 0.75), (30, 0.5)),
}


@pytest.fixture
def run(tmp_path):
    """A results folder as a run leaves it, with ways to go on."""
    results, board = tmp_path / "results", tmp_path / "board"
    results.mkdir()

    def tell(*cells, **changed):
        settings = {
            "budget": "quick",
            "model": "all-MiniLM-L6-v2",
            "weights_sha256": "53aa5117" + "0" * 56,
            "board": str(board),
            "started_at": datetime.now(timezone.utc),
            "told_at": datetime.now(timezone.utc),
            "cells": cells,
        }
        write_state(results, LiveState(**{**settings, **changed}))

    return SimpleNamespace(
        results=results,
        board=board,
        tell=tell,
        draw=lambda: write_board(results, board, budget="quick"),
        place=Place(results=results, board=None, default_board=board, budget="quick", model=None),
    )


@pytest.fixture
def address(run):
    # The bundle of libraries depends on nothing but their versions, and takes long to make.
    with served(live_answers(Follow(run.place), default_cache_dir()), 0) as found:
        yield found


@pytest.fixture
def page(window, address, asked):
    """A window of each size; whatever the page asks for elsewhere fails the test."""
    yield window
    assert {url for url in asked if not url.startswith(("blob:", "data:"))} <= {
        address,
        f"{address}state.json",
        f"{address}content.json",
    }


def cell(strategy, task="reviews", seed=0, **settings):
    return LiveCell(strategy=strategy, task=task, seed=seed, **settings)


def chips(page, strategy):
    line = page.locator("#live-cells tbody tr").filter(
        has=page.get_by_role("rowheader", name=strategy, exact=True)
    )
    return line.locator(".chip").all_inner_texts()


def told(page, text):
    page.locator("#live-status").get_by_text(text).wait_for()


def test_before_there_is_a_row_it_shows_the_cells_alone(page, address, run):
    page.goto(address)
    told(page, "There is no run in this results folder yet")
    run.tell(
        cell("finetune", **RUNNING),
        cell("lora"),
        cell("lora", "tweets"),
        cell("int8", state=CellState.NOT_APPLICABLE, reason="no CPU"),
    )
    told(page, "0 of 3 cells done.")
    assert page.title() == "0/3 Leaderboard"
    assert chips(page, "finetune") == ["training 25%"]
    assert chips(page, "int8") == ["-"]
    assert chips(page, "lora") == ["·", "·"]
    work = page.locator("#live-work .work")
    assert "training 30/120, loss 0.500" in work.inner_text()
    assert work.get_by_role("progressbar").get_attribute("value") == "30"
    assert work.get_by_role("img").get_attribute("aria-label") == "loss 1 to 0.5"
    assert not page.locator("#tabs").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_markup_in_whatever_a_run_says_is_text(page, address, run):
    make_results(run.results)
    run.draw()
    run.tell(
        cell(EVIL, **{**RUNNING, "phase": EVIL}),
        cell("broken", EVIL, state=CellState.FAILED, reason=EVIL),
        timings=(LiveTiming(name=f"latency of {EVIL}", state=CellState.RUNNING),),
    )
    page.goto(address)
    told(page, "1 of 2 cells done, 1 of them failed.")
    page.wait_for_selector("#board tbody tr >> nth=4")
    assert chips(page, EVIL) == [f"{EVIL} 25%"]
    assert page.locator("#live-work .name").all_inner_texts() == [
        f"{EVIL} on reviews, seed 0",
        f"latency of {EVIL}",
    ]
    assert page.locator("#live script").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_new_board_leaves_the_reader_where_he_was(page, address, run):
    make_results(run.results)
    run.draw()
    run.tell(cell("waits", **RUNNING))
    page.goto(address)
    page.get_by_role("tab", name="reviews").click()
    page.get_by_role("searchbox").fill("a")
    page.get_by_role("checkbox", name="fine-tuning").uncheck()
    page.get_by_text("Columns", exact=True).click()
    page.get_by_label("trainable", exact=True).check()
    page.get_by_role("combobox").select_option("parameters")
    page.locator("#board thead th", has_text="parameters").first.click()
    page.locator("#board tbody").get_by_role("button", name="lora", exact=True).focus()
    counted = page.get_by_text("2 of 5 rows")
    counted.wait_for()

    record = make_record("adapters", "reviews", 0.875, scored_examples=8, parameters=1000, minutes=5)
    RecordStore(run.results).put(record)
    save_predictions(run.results, record.key, [i < 7 for i in range(8)])
    run.draw()
    # At the end of a run the last board comes at once.
    run.tell(cell("adapters", state=CellState.DONE, score=0.875), ending=Ending.DONE)
    page.get_by_text("3 of 6 rows").wait_for()
    assert page.get_by_role("tab", selected=True).inner_text() == "reviews"
    assert page.get_by_role("searchbox").input_value() == "a"
    assert not page.get_by_role("checkbox", name="fine-tuning").is_checked()
    assert page.get_by_label("trainable", exact=True).is_checked()
    assert page.get_by_role("combobox").input_value() == "parameters"
    names = page.locator("#board tbody tr td:first-child").all_inner_texts()
    assert names[0] == "adapters"  # the fewest parameters: still sorted by them
    assert page.evaluate("document.activeElement.textContent") == "lora"
    page.wait_for_function("document.querySelectorAll('#picture [role=button]').length === 3")
    # The cells' table leads to the row, too.
    told(page, "The run has ended: 1 of 1 cell done.")
    page.locator("#live-cells summary").click()
    page.locator("#live-cells").get_by_role("button", name="87.5").click()
    assert page.locator("#details-title").inner_text() == "adapters on reviews"


def test_a_run_that_was_killed_and_a_server_that_went_are_told(browser, run):
    with served(live_answers(Follow(run.place), default_cache_dir()), 0) as address:
        page = browser.new_page()
        run.tell(cell("lora"), told_at=datetime.now(timezone.utc) - timedelta(minutes=5))
        page.goto(address)
        page.get_by_text("No update from the run for 5 min: it was killed").wait_for()
        assert page.locator("#live-left").text_content() == ""
        run.tell(cell("lora"), left_s=300.0)
        page.get_by_text("about 5 min left").wait_for()
        assert page.locator("#live-warning").text_content() == ""
    page.get_by_text("The server does not respond").wait_for()
    page.close()


@pytest.fixture
def command(tmp_path, tiny_model, toy_plugin):
    """The real command with a strategy that waits; what it left running is ended after the test."""
    plugins = [toy_plugin, Path(helpers.waiting_plugin.__file__), Path(helpers.failing_plugin.__file__)]
    made = Command(tmp_path, model=tiny_model, plugins=plugins, cache=default_cache_dir())
    made.settings += ["--task", "toy-sentiment", "--strategy", "waits", "--strategy", "raises"]
    yield made
    made.kill()


def address_in(output):
    return re.search(r"Live page: (\S+)", output).group(1)


def test_a_real_run_is_shown_by_itself_and_by_watch_from_its_first_cell_to_its_end(browser, command):
    let_go = command.folder / "let-go"
    run = command.start("--serve", "--port", "0", LET_GO=str(let_go))
    run.wait_until(lambda: "Live page: " in run.output)
    served_by_run = browser.new_page()
    served_by_run.goto(address_in(run.output))
    run.wait_until(command.results.exists)
    watch = Started(command, command.line("watch", "--port", "0"), command.environment)
    watch.wait_until(lambda: "Live page: " in watch.output)
    served_by_watch = browser.new_page()
    served_by_watch.goto(address_in(watch.output))
    pages = [served_by_run, served_by_watch]
    for page in pages:
        run.wait_until(page.get_by_text("training 3/8, loss 0.500").is_visible)
        run.wait_until(page.locator("#board tbody tr", has_text="finetune").is_visible)
        assert chips(page, "waits") == ["training 37%"]
    let_go.touch()
    code, output = run.end()
    assert code == 1  # for the cell that failed
    assert "Traceback" not in output
    for page in pages:
        page.set_default_timeout(1000 * PATIENCE_S)
        told(page, "The run has ended: 3 of 3 cells done, 1 of them failed.")
        page.locator("#board tbody tr", has_text="waits").wait_for()
        page.locator("#live-cells summary").click()
        assert chips(page, "raises") == ["failed"]
        assert re.fullmatch(r"\d+\.\d", chips(page, "waits")[0])
        # Latency comes last; the page has it all the same.
        page.locator("#latency").get_by_text("Latency:").wait_for()
        assert "not been measured" not in page.locator("#latency").inner_text()
    # With the run its own page is no longer served; what it shows stays.
    served_by_run.wait_for_timeout(2500)
    assert served_by_run.locator("#live-warning").text_content() == ""

    watch.signal(signal.SIGINT, group=True)
    code, output = watch.end()
    assert (code, output.splitlines()[1:]) == (0, ["Ctrl-C stops this page but not the run."])
    for page in pages:
        page.close()


@pytest.mark.slow
def test_mistakes_are_told_in_a_line(command):
    nowhere = command.run(verb="watch")
    assert nowhere.returncode == 2
    assert nowhere.stderr == (
        f"kdbench: no results folder {command.results}; start 'kdbench run' first, or correct --results\n"
    )
    alone = command.run("--port", "0")
    assert alone.returncode == 2
    assert alone.stderr == ("kdbench: --port is the port of --serve; add --serve, or leave --port out\n")
