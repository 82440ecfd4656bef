"""The board as one page for a browser: it loads nothing from elsewhere."""
