"""Rules across sections of a spec."""
