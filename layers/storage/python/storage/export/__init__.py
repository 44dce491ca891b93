"""Delivery of events into buckets: read, encode, upload, verify, commit."""
