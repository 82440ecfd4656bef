"""Train models: the bench of a cell, the training loop, the teacher, joint training, prediction."""
