"""Joulecar's exporters: views of the agent's Snapshot; they never change a number."""
