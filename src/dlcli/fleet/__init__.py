"""Many runs: batches, sweeps, the search for a batch size."""
