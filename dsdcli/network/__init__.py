"""The network for any dimension, its two heads, its configuration and its files."""
