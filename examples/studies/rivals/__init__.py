"""What one would use instead of dsd, each in one short file; `studies/rivals.py` measures them side by side."""
