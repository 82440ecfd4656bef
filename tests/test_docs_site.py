"""The documentation builds as a site without a warning, has a page for everything registered, and loads nothing from elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kdbench.plugins import load_plugins

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="the site's packages need Python 3.11")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder


def test_every_strategy_and_task_has_a_page_in_the_navigation(site):
    registry = load_plugins()
    index = (site / "index.html").read_text(encoding="utf-8")
    pages = [f"strategies/{name}.html" for name in registry.strategies]
    pages += [f"tasks/{name}.html" for name in registry.tasks]
    assert all((site / page).exists() and f'href="{page}"' in index for page in pages)


def test_pages_load_nothing_from_elsewhere(site):
    loaded = re.compile(
        r'<(?:script|img|iframe)[^>]+src="(https?:)?//|<link[^>]+rel="stylesheet"[^>]+href="(https?:)?//'
    )
    assert [
        page.name for page in site.rglob("*.html") if loaded.search(page.read_text(encoding="utf-8"))
    ] == []
