"""Commands, from the offer to the answer: judged in order, written together, told when they are on disk."""
