"""How close generated images are to real ones: metrics of one image, ensembles of them, distances and verdicts."""
