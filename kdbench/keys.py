"""Names of things by what they follow from."""

from __future__ import annotations

import hashlib
import json


def content_hash(content: object) -> str:
    """Return 20 hexadecimal digits of the SHA-256 of `content`'s canonical JSON."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:20]
