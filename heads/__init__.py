"""Heads: classifiers trained on cached features. Nothing is here yet; `extract` comes first."""
