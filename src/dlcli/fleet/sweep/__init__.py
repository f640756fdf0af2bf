"""A space -> trials, each an ordinary run, and the best of them: Optuna draws, the forked workers of a batch train."""
