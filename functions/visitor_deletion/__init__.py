"""Erasure: a visitor is taken out, and a receipt says what went."""
