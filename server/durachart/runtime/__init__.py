"""The use cases: take a command, judge it, commit what follows in one transaction, answer, wake watchers.

`queue` groups commands, `judge` decides and is pure, `store` writes. A reply leaves after its transaction is
on disk; what a reply says can be read back by every later call.
"""
