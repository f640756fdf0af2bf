"""Builds the network of a spec for its data."""
