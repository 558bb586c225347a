"""The peers' halves. Each module runs in an environment of its own: NumPy, the peer, and nothing of this package but `common`."""
