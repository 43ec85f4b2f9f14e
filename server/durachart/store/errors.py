"""Why a database cannot be used, in a sentence for whoever runs the server.

StoreError
├── StoreFailed         a read or a commit failed; whether the commit reached the disk is not known
└── StoreNotOpened      the database cannot be opened
    ├── StoreInUse      another process has it open
    └── StoreTooNew     a newer release has written it
"""

from __future__ import annotations


class StoreError(Exception):
    """The database did not do what was asked."""


class StoreFailed(StoreError):
    """A read or a commit failed.

    Nothing of a failed commit will be seen by later reads of this process; whether it reached the disk before
    the failure is not known.
    """


class StoreNotOpened(StoreError):
    """The database cannot be opened."""


class StoreInUse(StoreNotOpened):
    """Another process has the database open."""


class StoreTooNew(StoreNotOpened):
    """The database was written by a newer release."""
