"""The physics: particles that walk on a lattice with walls. Nothing here knows a network or a file."""
