"""A Lambda runtime on one machine: reads the SAM template, runs its functions through the real Runtime API.

It knows the functions only by the handler strings of the template, and imports none of them.
"""
