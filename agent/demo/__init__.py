"""A demonstration on this very machine: a real llama.cpp server, a tiny model, a modest load."""
