"""Prometheus rules: alerts on budgets and on the agent's health, and sums over a fleet. Pure: settings in, text out."""
