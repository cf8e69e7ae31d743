"""What the chapters of *Deep Learning, Three Ways* share.

Import it before TensorFlow: it sets the environment variables that keep
TensorFlow quiet and deterministic, and TensorFlow reads them only once; and
it sees that TensorFlow and PyTorch's compiler get along in one process.
Importing it imports neither TensorFlow nor PyTorch.
"""

from helpers.runtime import (
    device,
    keep_freed_memory,
    load_triton_first,
    quiet,
    scale,
    seed,
    versions,
)

keep_freed_memory()
quiet()
load_triton_first()

__all__ = ["device", "keep_freed_memory", "quiet", "scale", "seed", "versions"]
