"""Turn records into the tables that every output of a board is drawn from."""
