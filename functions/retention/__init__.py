"""Retention: what is too old goes."""
