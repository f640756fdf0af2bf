"""Many runs: specs, seeds and settings -> a durable queue -> a process for each run -> a leaderboard."""
