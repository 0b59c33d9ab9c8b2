"""Sampling: wanted counts, the reverse walk in a few leaps, and the valid image it decodes to."""
