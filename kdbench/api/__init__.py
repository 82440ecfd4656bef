"""Define the plugin API: contracts of strategies, tasks, kinds and metrics; parameters, losses, ready-made models."""
