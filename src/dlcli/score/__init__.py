"""The quality of predictions: scores with intervals, per-class tables, curves, calibration, errors, residuals, slices."""
