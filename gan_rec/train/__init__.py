"""Training: the state of both players, the compiled epoch, and the loop around it."""
