"""Adapters that tell what a kilowatt-hour costs."""
