"""Draw a board's plots as SVG and PNG, byte-identical for the same records."""
