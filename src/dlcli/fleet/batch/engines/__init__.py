"""Where the processes of jobs run: this machine, a Ray cluster, SLURM."""
