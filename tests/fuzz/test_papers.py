"""An odd table of published results is refused in one line, or read as tomllib reads it."""

from __future__ import annotations

import sys
from importlib.resources import files

from fuzz.judge import fuzz, taken
from fuzz.mutate import damaged
from hypothesis import given

from kdbench.render.published import parse_published

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_WHOLE = files("kdbench.render").joinpath("published_results.toml").read_bytes()
SEEDS = [
    b"[examples]\n"
    + b"[[source]]\n".join([b"sst2 = {dev = 872}\n", *_WHOLE.split(b"[[source]]\n")[part : part + 2]])
    for part in (1, 3)
]


@fuzz(500)
@given(damaged(SEEDS))
def test_odd_bytes(content: bytes) -> None:
    text = content.decode(errors="replace")
    results, problem = taken(lambda: parse_published(text), "published_results.toml")
    if problem is None:
        found = [
            (source["arxiv"], system["name"], task, metric, round(percent / 100, 4))
            for source in tomllib.loads(text.replace("\r\n", "\n"))["source"]
            for system in source["system"]
            for task, scores in system["scores"].items()
            for metric, percent in scores.items()
        ]
        assert [(one.source.arxiv, one.system, one.task, one.metric, one.score) for one in results] == found
