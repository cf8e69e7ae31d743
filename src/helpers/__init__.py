"""What the chapters of *Deep Learning, Three Ways* share.

Import it before TensorFlow: it sets the environment variables that keep
TensorFlow quiet and deterministic, and TensorFlow reads them only once.
Importing it imports neither TensorFlow nor PyTorch.
"""

from helpers.runtime import device, quiet, scale, seed, versions

quiet()

__all__ = ["device", "quiet", "scale", "seed", "versions"]
