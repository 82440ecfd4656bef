"""What is measured of a finished model, and of the machine that measured it."""
