"""Plain networks: what they compute, not how they are trained."""
