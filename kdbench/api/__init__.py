"""All that a plugin may touch: contracts, parameters, losses, readers and ready-made models."""
