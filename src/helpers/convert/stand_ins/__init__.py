"""Layers of each framework that its own lack for computing what another framework's do."""
