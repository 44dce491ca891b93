"""What can go wrong in the storage layer, as nouns that a caller can act on.

StorageError
├── SettingsInvalid       a setting is missing or wrong; the message names it
├── DatabaseUnavailable   PostgreSQL cannot be reached or went away; try again later
├── SchemaTooNew          the database was migrated by a newer release
├── WritersBusy           a writer holds its transaction open; what it writes is not settled yet
├── ExportRunning         another process holds the export
├── DeliveryFailed        one destination refused a batch; it stays in the ledger
├── BatchUnreadable       a batch cannot be encoded; it stays in the ledger, the others go on
├── RedeliveryRefused     a batch cannot be delivered again
├── HandoffInvalid        what is to be handed off is no range of the past
├── RestoreRefused        what is to be restored does not fit what is there
└── ErasureUnknown        no erasure has this id
"""

from __future__ import annotations


class StorageError(Exception):
    """A failure that the storage layer has understood; its text tells the user what to do."""


class SettingsInvalid(StorageError):
    """A setting is missing or wrong."""


class DatabaseUnavailable(StorageError):
    """PostgreSQL cannot be reached; nothing was stored, and the same call may succeed later."""


class SchemaTooNew(StorageError):
    """The database was migrated by a newer release; run that release or restore a backup."""


class WritersBusy(StorageError):
    """Somebody holds a transaction open, so that what others wait for cannot be done; try again later."""


class ExportRunning(StorageError):
    """Another process is exporting from this database; its batches go on without this call."""


class DeliveryFailed(StorageError):
    """One destination refused a batch; the ledger keeps it and the next run tries again."""


class BatchUnreadable(StorageError):
    """A batch cannot be encoded; the ledger keeps it with the reason, and the others go on."""


class RedeliveryRefused(StorageError):
    """A batch cannot be delivered again: the text says which and why; none of those that were asked for is."""


class HandoffInvalid(StorageError):
    """What is to be handed off cannot be: the text says which part of the wish, and what would do."""


class RestoreRefused(StorageError):
    """A bucket's events cannot be put into this database; whole batches that were put back before stay."""


class ErasureUnknown(StorageError):
    """No erasure has this id."""


class StatementMissing(StorageError):
    """There is no usage statement of this month: the text says when there is one."""
