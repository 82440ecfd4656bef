"""Search the parameters of strategies on validation examples, with equally many trials for each."""
