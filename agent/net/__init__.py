"""What every adapter that asks over HTTP needs: one deadline for the whole exchange, a limit on what is read, and
few stable words for what went wrong."""
