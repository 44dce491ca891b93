"""The storage layer: the only code that speaks SQL or S3. It knows nothing of Lambda, HTTP or the emulator."""
