"""One run, from a spec to its results: training, resuming, fine-tuning, the search for a learning rate."""
