"""Score predictions: metrics, fidelity to the teacher, calibration, scores by class."""
