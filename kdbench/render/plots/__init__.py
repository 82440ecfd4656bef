"""The board as pictures to print: SVG and PNG, the same bytes from the same records."""
