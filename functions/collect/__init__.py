"""Intake: beacons in, events and refusals stored."""
