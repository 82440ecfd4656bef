import base64
import hashlib
import re
from itertools import combinations
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest
from helpers.drawn_board import COST, EVIL, drawn_content, make_results

from kdbench.config import default_cache_dir
from kdbench.render.html.content import no_content
from kdbench.render.html.page import LivePart, html_page, laid_open
from kdbench.share.privacy import Private


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    results = folder / "results"
    results.mkdir()
    make_results(results)
    # The bundle of libraries depends on nothing but their versions, and takes long to make.
    page = html_page(drawn_content(results), default_cache_dir())
    assert len(page.encode()) < 3_000_000
    (folder / "index.html").write_text(page, encoding="utf-8")
    return (folder / "index.html").as_uri()


@pytest.fixture
def page(window, address, asked):
    """The page in a new window; whatever it asks for elsewhere fails the test."""
    window.goto(address)
    window.wait_for_selector("html[data-ready]")
    yield window
    assert [url for url in asked if not url.startswith("blob:")] == [address]


def open_task(page, name="reviews"):
    page.get_by_role("tab", name=name).click()
    page.wait_for_selector("#picture svg")


def names(page):
    return page.locator("#board tbody tr td:first-child").all_inner_texts()


def column(page, heading):
    headings = page.locator("#board thead th").all_inner_texts()
    place = [text.strip() for text in headings].index(heading) + 1
    return page.locator(f"#board tbody tr td:nth-child({place})").all_inner_texts()


def wait_until_sorted(page, heading, direction):
    page.locator(f'#board thead th[aria-sort="{direction}"]', has_text=re.compile(f"^{heading}$")).wait_for()


def points(page):
    return page.locator('#picture [role="button"]')


def test_markup_in_names_is_text_and_all_fits_the_window(page):
    assert EVIL in names(page)
    open_task(page)
    assert EVIL in names(page)
    assert COST in names(page)
    page.get_by_role("button", name=EVIL, exact=True).first.click()
    assert page.locator("#details-title").inner_text() == f"{EVIL} on reviews"
    assert page.locator("#details script, #board script, #families script").count() == 0
    assert page.get_by_text("</script><!--").count() > 0
    # Nothing is wider than the window, with long names neither.
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.querySelector('dialog').getBoundingClientRect().right <= innerWidth")


def test_a_tab_shows_its_task_by_mouse_and_by_key(page):
    tabs = page.get_by_role("tab")
    assert tabs.all_inner_texts() == ["All tasks", "reviews", "tweets"]
    assert page.get_by_role("tab", selected=True).inner_text() == "All tasks"
    assert not page.locator("#drawing").is_visible()
    open_task(page)
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("tab", selected=True).inner_text() == "tweets"
    page.wait_for_selector("#picture svg")
    assert page.locator("#about").inner_text().startswith("The tweets task")


def test_a_heading_sorts_and_what_was_not_measured_stays_below(page):
    open_task(page)
    heading = page.locator("#board thead th", has_text=re.compile("^p50 ms$"))
    heading.click()
    wait_until_sorted(page, "p50 ms", "ascending")
    assert column(page, "p50 ms") == ["2.00", "4.00", "8.00", "10.0", "-"]
    heading.click()
    wait_until_sorted(page, "p50 ms", "descending")
    assert column(page, "p50 ms") == ["10.0", "8.00", "4.00", "2.00", "-"]
    page.locator("#board thead th", has_text="strategy").get_by_role("button").focus()
    page.keyboard.press("Enter")
    wait_until_sorted(page, "strategy", "ascending")
    assert names(page) == sorted(names(page), key=str.lower)


def test_searching_and_families_leave_rows_and_points_that_match(page):
    open_task(page)
    assert points(page).count() == 4
    page.get_by_role("searchbox").fill("lora")
    assert names(page) == ["lora"]
    assert page.get_by_role("status").inner_text() == "1 of 5 rows"
    page.wait_for_function("document.querySelectorAll('#picture [role=button]').length === 1")
    page.get_by_role("searchbox").fill("no such")
    page.wait_for_selector("#picture >> text=Nothing to draw.")
    assert page.get_by_role("status").inner_text() == "0 of 5 rows"

    page.get_by_role("searchbox").fill("")
    page.get_by_role("checkbox", name="fine-tuning").uncheck()
    assert "finetune (teacher)" not in names(page)
    page.wait_for_function("document.querySelectorAll('#picture [role=button]').length === 3")
    page.get_by_role("tab", name="All tasks").click()
    assert "finetune" not in names(page)
    page.get_by_role("checkbox", name="fine-tuning").check()
    assert "finetune" in names(page)


def test_columns_and_the_cost_of_the_picture_are_chosen(page):
    open_task(page)
    page.get_by_text("Columns", exact=True).click()
    page.get_by_label("trainable", exact=True).check()
    assert column(page, "trainable")[0] == "750k"
    assert page.get_by_title("parameters that training updated.").count() == 1
    page.get_by_label("parameters", exact=True).uncheck()
    with pytest.raises(ValueError, match="not in list"):
        column(page, "parameters")
    assert page.locator("#picture").get_by_text("p50 latency, ms").count() == 1
    page.get_by_role("combobox").select_option("parameters")
    page.wait_for_selector("#picture >> text=parameters")
    assert "parameters 625k" in points(page).nth(1).get_attribute("aria-label")


def test_names_on_a_crowded_front_stand_apart_and_within_the_picture(window, tmp_path):
    make_results(tmp_path)
    content = drawn_content(tmp_path)
    columns = [one["name"] for one in content["columns"]]
    rows = [row for row in content["rows"] if row["ok"] and row["task"] == "reviews"]
    scores, costs = (0.6, 0.8, 0.801, 0.802), (1.0, 10.0, 10.01, 10.02)
    for row, score, cost in zip(rows, scores, costs, strict=True):
        row["values"][columns.index("score")], row["values"][columns.index("p50_ms")] = score, cost
        row["low"], row["high"] = score - 0.05, score + 0.05
    (tmp_path / "index.html").write_text(html_page(content, default_cache_dir()), encoding="utf-8")
    window.goto((tmp_path / "index.html").as_uri())
    window.get_by_role(
        "button", name="Dark"
    ).click()  # at once, as the tab below: what is not ready is not there
    open_task(window)
    names_there = "#picture .mark-text.role-mark text"
    width = window.viewport_size["width"]
    if width > 600:  # a phone has no room for names
        window.wait_for_selector(names_there)
    drawn = window.locator(names_there).all()
    assert len(drawn) == (len(rows) if width > 600 else 0)
    boxes = [name.bounding_box() for name in drawn]
    picture = window.locator("#picture svg").bounding_box()
    for box in boxes:
        assert picture["x"] <= box["x"] < box["x"] + box["width"] <= picture["x"] + picture["width"]
    for one, other in combinations(boxes, 2):
        assert abs(one["x"] - other["x"]) > 300 or abs(one["y"] - other["y"]) >= 11
    if drawn:
        window.set_viewport_size({"width": 500, "height": 900})
        window.wait_for_selector(names_there, state="detached")


def test_a_point_leads_to_its_row_and_a_row_to_its_point(page):
    open_task(page)
    points(page).nth(1).focus()
    assert page.locator("#board tr.marked td:first-child").inner_text() == "lora"
    page.keyboard.press("Enter")
    assert page.locator("#details-title").inner_text() == "lora on reviews"
    page.keyboard.press("Escape")
    page.mouse.move(1, 1)  # the focus may scroll the page; in its margin the mouse comes to rest on no row
    page.get_by_role("button", name="lora", exact=True).first.focus()
    page.wait_for_function(
        "[...document.querySelectorAll('#picture [role=button]')].filter((e) => +getComputedStyle(e).opacity < 1)"
        ".length === 3"
    )
    points(page).nth(0).click()
    assert page.locator("#details-title").inner_text() == "finetune (teacher) on reviews"


def test_an_opened_row_tells_all_of_it_and_gives_the_focus_back(page):
    open_task(page)
    name = page.get_by_role("button", name="finetune (teacher)", exact=True).first
    name.click()
    dialog = page.get_by_role("dialog")
    told = dialog.inner_text()
    for part in ("Nobody 2026", "Seeds", "Classes", "Confusion matrix", "Latency: torch on cpu"):
        assert part in told
    assert dialog.locator(".seeds circle").count() == 3
    assert (
        "Seed 0, loop 1: loss 0.75 to 0.25 in 5 steps; validated 74.0 after step 3, 75.0 after step 5" in told
    )
    assert dialog.locator(".curve").first.locator("circle").count() == 2
    latency = dialog.locator("section", has_text="Latency: torch on cpu").locator("thead th")
    # What no point has is no column: p90, p99 and calls a second.
    assert latency.all_inner_texts() == [
        "batch",
        "length",
        "threads",
        "p50 ms",
        "p95 ms",
        "speed-up",
        "calls",
    ]
    assert dialog.locator(".confusion td").all_inner_texts() == ["9", "3", "3", "9"]
    page.get_by_role("button", name="Close").click()
    assert not dialog.is_visible()
    assert name.evaluate("(element) => element === document.activeElement")
    page.get_by_role("button", name="broken", exact=True).first.click()
    told = page.get_by_role("dialog").inner_text()
    assert f"{EVIL} went wrong" in told
    assert page.locator("dialog pre").inner_text().endswith(f"step 99\n{EVIL} last words")
    page.get_by_role("button", name="Close").click()
    page.get_by_role("tab", name="All tasks").click()
    page.locator("#board tbody tr", has_text="lora").get_by_role("button").nth(1).click()
    assert page.locator("#details-title").inner_text() == "lora on tweets"


def test_the_foot_of_the_page_tells_how_the_board_was_made(page):
    page.get_by_text("How this board was made").click()
    assert "Xeon 8481C" in page.locator("#facts").inner_text()
    assert page.locator("#command").inner_text().startswith("kdbench run --budget quick --seeds 3 \\\n")
    assert f"--strategy '{EVIL}'" in page.locator("#command").inner_text()


def test_light_and_dark_follow_the_system_and_the_switch(browser, address):
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("html[data-ready]")
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    switch = page.get_by_role("button", name="Dark")
    assert switch.get_attribute("aria-pressed") == "true"
    switch.click()
    assert page.evaluate(background) == "rgb(255, 255, 255)" != dark
    context.close()


def test_the_page_tells_nothing_of_the_machine_that_a_check_before_publishing_would_stop(address):
    page = laid_open(Path(url2pathname(urlsplit(address).path)).read_text(encoding="utf-8"))
    assert '"strategy":"lora"' in page
    assert Private(folders=("/srv/kdbench",), users=("somebody",)).leak(page) is None


def test_markup_in_headings_is_text_and_a_script_put_into_the_page_does_not_run(browser, tmp_path):
    make_results(tmp_path)
    content = drawn_content(tmp_path)
    markup = '<img src=x onerror="alert(1)">'
    content["tasks"][0]["metric"] = content["columns"][0]["heading"] = markup
    (tmp_path / "index.html").write_text(html_page(content, default_cache_dir()), encoding="utf-8")
    page = browser.new_page()
    dialogs, complaints = [], []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto((tmp_path / "index.html").as_uri())
    page.wait_for_selector("html[data-ready]")
    assert f"reviews {markup}" in page.locator("#board thead th").all_inner_texts()
    open_task(page)
    assert markup in page.locator("#board thead th").all_inner_texts()
    assert page.locator("img").count() == 0
    assert complaints == []
    page.evaluate(f"document.body.insertAdjacentHTML('beforeend', '{markup}')")
    page.wait_for_function("document.querySelector('img').complete")
    assert "Content Security Policy" in " ".join(complaints)
    assert dialogs == []
    page.close()


@pytest.mark.parametrize("live", [None, LivePart("<p></p>", "p { color: red }", "let more = 1;")])
def test_the_policy_lists_scripts_and_styles_by_their_hashes(live):
    page = html_page(no_content("Leaderboard"), default_cache_dir(), live)
    policy = re.search('Content-Security-Policy" content="([^"]*)"', page)[1]
    assert "unsafe" not in policy
    for tag, directive in (("style", "style-src"), ('script type="module"', "script-src")):
        (inline,) = re.findall(f"<{tag}>(.*?)</", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
