"""Text that language models make, from who makes it to who reads it."""
