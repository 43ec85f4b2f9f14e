"""The Python client of Durachart."""

__version__ = "0.1.0"
