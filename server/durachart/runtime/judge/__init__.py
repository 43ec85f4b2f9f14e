"""What a command does to an instance. Pure: it knows its arguments, and decides."""
