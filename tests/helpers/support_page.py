"""Write and read `docs/support.md`: which strategy works on which architecture, and why others do not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

Outcomes = Mapping[tuple[str, str], str]
"""By strategy and architecture, `WORKS` or the reason of a refusal."""
WORKS = "works"
_HEAD = """# Strategies and architectures

Every built-in strategy was trained for two steps on a tiny model of every architecture, with a tokenizer of the kind that it
is published with, then finalized, saved and loaded; the loaded model had to give the same answers. A row says where that
**works**; a number refers to the reason below it for which the strategy refuses before it trains.

- `roberta` stands for CamemBERT and others of its build, too, `modernbert` for Ettin and mmBERT, `deberta-v3` for DeBERTa-v2.
- The layers of `albert` share their weights. What is adapted, pruned or prefixed there is so in all layers at once, and a
  student of fewer layers passes through the one layer less often.
- `modernbert` and `eurobert` normalize what a sublayer reads, not the sum behind it; `adapter-pfeiffer` then reads that sum.
- Where one layer computes queries, keys and values (`modernbert`), LoRA and its kind adapt that layer as a whole.
- Models with code of their own in their folder (NeoBERT and others: `auto_map` in `config.json`) are refused, since that code
  is not run.

This page is written by `make support`, and the tests compare it with what strategies do.
"""


def write_page(path: Path, outcomes: Outcomes) -> None:
    """Write the page of `outcomes` to `path`."""
    architectures = list(dict.fromkeys(name for _, name in outcomes))
    reasons = list(dict.fromkeys(reason for reason in outcomes.values() if reason != WORKS))
    lines = [
        f"| strategy | {' | '.join(architectures)} |",
        f"|---|{'---|' * len(architectures)}",
    ]
    for strategy in dict.fromkeys(strategy for strategy, _ in outcomes):
        cells = [_cell(outcomes[strategy, name], reasons) for name in architectures]
        lines.append(f"| `{strategy}` | {' | '.join(cells)} |")
    notes = [f"{number}. {reason}" for number, reason in enumerate(reasons, start=1)]
    path.write_text("\n".join([_HEAD, *lines, "", *notes, ""]), encoding="utf-8")


def _cell(outcome: str, reasons: list[str]) -> str:
    return WORKS if outcome == WORKS else f"refused ({reasons.index(outcome) + 1})"


def read_page(path: Path) -> dict[tuple[str, str], str]:
    """Return the outcomes on the page at `path`; none if there is no page yet."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    reasons = dict(match.groups() for line in lines if (match := re.fullmatch(r"(\d+)\. (.*)", line)))
    architectures = rows[0][1:]
    outcomes = {}
    for strategy, *cells in rows[2:]:
        for name, cell in zip(architectures, cells, strict=True):
            number = re.fullmatch(r"refused \((\d+)\)", cell)
            outcomes[strategy.strip("`"), name] = reasons[number[1]] if number else cell
    return outcomes
