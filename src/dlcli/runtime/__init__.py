"""The layer below specs and training: devices, streams of batches, inputs, checkpoints and saved models."""
