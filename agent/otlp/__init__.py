"""Request spans over OTLP/HTTP: what comes in, which of it is a request, and what is passed on with its joules."""
