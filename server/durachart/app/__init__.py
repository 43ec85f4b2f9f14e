"""The program: settings, wiring, telemetry set-up and the command line. Nothing imports this package."""
