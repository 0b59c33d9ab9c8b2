"""Discrete Spatial Diffusion: microstructures with exact phase fractions."""

__version__ = "0.1.0"
