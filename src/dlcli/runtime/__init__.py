"""The machinery under a stage that is not the user's vocabulary: devices, streams of batches, preprocessing."""
