"""Training: the likelihood of the undo counts, the loop that minimises it, and the run it leaves on disk."""
