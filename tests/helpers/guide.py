"""The guide for plugin authors, and the code that it shows."""

from __future__ import annotations

import re
from pathlib import Path

GUIDE = (Path(__file__).parents[2] / "docs" / "plugin-guide.md").read_text(encoding="utf-8")


def code_blocks(text):
    return re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
