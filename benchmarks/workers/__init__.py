"""Measurements that need a process of their own: one thread, a clean memory peak. Each prints one JSON object."""
