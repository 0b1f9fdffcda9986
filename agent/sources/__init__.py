"""Adapters that read power and energy from the machine."""
