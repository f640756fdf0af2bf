"""Predictions for new examples."""
