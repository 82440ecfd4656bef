"""Write a board's tables as Markdown, terminal text, pages and plots."""
