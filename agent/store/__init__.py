"""What the agent remembers on disk: one SQLite file in the state directory."""
