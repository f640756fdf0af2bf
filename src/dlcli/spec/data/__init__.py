"""The `data` section of a spec."""
