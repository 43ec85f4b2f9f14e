"""Watches: what instances are and what they become."""
