"""Measures: what is measured on one image, one file per kind of quantity."""
