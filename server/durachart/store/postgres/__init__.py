"""The PostgreSQL store: one database, many nodes.

Nobody owns the database. A batch is judged on what was known and written by one statement that proves, row by
row, that it is still so; what is not is left out, loaded and judged again. Nodes meet nowhere but in the
database: there is no leader and no lock that outlives a transaction. A doorbell (``LISTEN``/``NOTIFY``) tells
nodes to look sooner; it carries no data, and losing it costs them their poll interval.

The log has no sequence. Numbers of a sequence are drawn before the commit and become visible in another
order, so that a reader would have to guess whether a gap will be filled. A revision is made of the
transaction's id instead (see `revisions`), and whoever reads the log stops at the oldest transaction still
running: what lies before it never changes. The price: a long transaction that writes, anywhere in the same
cluster, holds watchers back until it ends. Events go on meanwhile.
"""
