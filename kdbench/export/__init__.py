"""Export benchmarked models as folders with a model card, and predict with them."""
