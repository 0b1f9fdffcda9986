"""Adapters that read tokens and requests from serving engines."""
