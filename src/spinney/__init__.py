"""Spinney moves data from few to many."""

__version__ = "0.1.0.dev0"
