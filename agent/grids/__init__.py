"""Adapters that tell the carbon intensity of the grid."""
