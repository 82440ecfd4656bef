"""Boards: records to one tidy table, and from that alone to Markdown, CSV and the terminal."""
