"""What can go wrong in the emulator."""

from __future__ import annotations


class EmulatorError(Exception):
    """A failure whose text tells the operator what to do."""


class TemplateInvalid(EmulatorError):
    """The template asks for something that is missing, wrong, or not supported here; the text names it."""


class Throttled(EmulatorError):
    """No environment of a function is to be had: all are busy and too many wait, or none can start; nothing ran."""


class QueuesBroken(EmulatorError):
    """The file of the queues cannot be used; the text names it and says how to go on."""
