"""Layers of the NumPy engine, a topic a file: its functions first, then its modules."""
