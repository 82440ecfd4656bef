"""Render a board's tables as Markdown, terminal text, HTML and plots."""
