"""What predictions are worth: scores with intervals, per-class tables, curves, calibration, errors, residuals, slices."""
