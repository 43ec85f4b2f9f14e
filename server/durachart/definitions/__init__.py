"""From a definition document to a machine the engine can step, with every problem reported at once."""
