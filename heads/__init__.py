"""Heads: classifiers trained on cached features."""
