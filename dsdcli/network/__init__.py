"""The network: a U-Net for any dimension, its undo-count head, its configuration and its files."""
