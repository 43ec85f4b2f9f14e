"""The loops that act on what was committed: effects are run, timers fired, expired leases taken over."""
