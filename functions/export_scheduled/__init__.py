"""Delivery: by schedule or on demand, into the client's and the backup bucket."""
