"""Whether the journal explains what is stored."""
