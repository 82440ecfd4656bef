"""A hash of a data set's contents, whatever way they came."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


class ContentHash:
    """Hashes columns of strings, numbers and lists of strings; how they are cut into batches does not matter."""

    def __init__(self) -> None:
        self._parts: dict[str, hashlib._Hash] = {}

    def update(self, column: str, values: pa.Array) -> None:
        """Add the next `values` of `column`."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if pa.types.is_list(values.type):
            self._add(f"{column}/items", pc.list_value_length(values).to_numpy().astype("<i8").tobytes())
            self.update(f"{column}/item", values.flatten())
        elif pa.types.is_string(values.type):
            # The lengths tell ("ab", "c") from ("a", "bc").
            self._add(f"{column}/bytes", pc.binary_length(values).to_numpy().astype("<i8").tobytes())
            self._add(column, "".join(values.to_pylist()).encode())
        else:
            self._add(column, values.to_numpy().astype("<f8").tobytes())

    def _add(self, part: str, data: bytes) -> None:
        self._parts.setdefault(part, hashlib.sha256()).update(data)

    def hexdigest(self) -> str:
        """Return the SHA-256 over all columns in hexadecimal."""
        lines = [f"{part} {digest.hexdigest()}\n" for part, digest in sorted(self._parts.items())]
        return hashlib.sha256("".join(lines).encode()).hexdigest()
