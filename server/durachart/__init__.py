"""Durachart: XState-v5-compatible statecharts as the durable source of truth for entity lifecycles."""

__version__ = "0.1.0"
