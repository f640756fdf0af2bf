"""Search spaces: the `sweep` section of a spec."""
