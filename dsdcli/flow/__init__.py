"""Slow flow of a liquid through pores, and the permeability that follows from it."""
