"""Other people's systems, one door each. Foreign exceptions are translated here, retries live here and nowhere else."""
