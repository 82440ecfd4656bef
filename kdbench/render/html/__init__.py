"""Render a board as one self-contained HTML page."""
