"""The command line: the one place that may know the storage layer and the emulator both."""
