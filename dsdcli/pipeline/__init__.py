"""Pipeline: one file per verb; the only place that reads, computes, checks and writes."""
