"""NATS between the nodes of one database: a faster doorbell, and text of generations sent once for all nodes.

Nothing is kept there and nothing depends on it. What is rung for is in the database, which every node looks
at every now and then; text goes from node to node where the broker cannot be reached. Subjects begin with
``durachart.`` and the database's uid, so that one broker serves many databases. Who may publish there is the
broker's to say: what it brings is a hint, or text, never a state.
"""
