"""Texts packed into the page: its content and its libraries, which would else be four fifths of a large board's page."""

from __future__ import annotations

import base64
import re
import zlib

_PACKED = re.compile(r'(<script type="text/plain" id="(\w+)">)([^<]*)(</script>)')
_CONTENT = "content"


def packed(text: str) -> str:
    """Return `text` as ``unpacked`` of ``elements.js`` reads it: compressed, in letters that no markup is made of."""
    return base64.b64encode(zlib.compress(text.encode(), level=9)).decode()


def laid_open(page: str) -> str:
    """Return a page with its content as it was before it was packed, and without its libraries.

    Whoever looks for a word must look for it there; in packed letters it would stand by chance or not at all.

    Args:
        page: what `html_page` returned, or any other text, which comes back as it is.
    """
    return _PACKED.sub(_opened, page)


def _opened(part: re.Match[str]) -> str:
    start, name, letters, end = part.groups()
    text = zlib.decompress(base64.b64decode(letters)).decode() if name == _CONTENT else ""
    return f"{start}{text}{end}"
