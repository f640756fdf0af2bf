"""The `model` section of a spec."""
