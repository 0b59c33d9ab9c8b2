"""What one would use instead of dsd, each in one short file; `examples/rivals.py` measures them side by side."""
