"""Joulecar's agent: reads hardware energy counters and engine token counters, and joins the two."""
