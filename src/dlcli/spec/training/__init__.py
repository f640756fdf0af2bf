"""The `training` section of a spec."""
