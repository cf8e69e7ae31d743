"""What ``convert`` builds into a ``keras.Sequential`` besides Keras' own layers."""

from typing import Any

import keras


@keras.saving.register_keras_serializable("helpers")
class UnbiasedBatchNormalization(keras.layers.BatchNormalization):
    """Batch norm whose running variance is the unbiased one, n/(n − 1) times, as in PyTorch."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        # The layer's own update has added (1 − momentum) times the biased variance.
        kept = self.moving_variance * self.momentum
        result = super().call(inputs, training=training, mask=mask)
        if training and self.trainable:
            count = keras.ops.size(inputs) // keras.ops.shape(inputs)[-1]
            n = keras.ops.cast(count, self.moving_variance.dtype)
            self.moving_variance.assign(kept + (self.moving_variance - kept) * (n / (n - 1)))
        return result


@keras.saving.register_keras_serializable("helpers")
def gelu_tanh(x: Any) -> Any:
    """GELU by its approximation with tanh."""
    return keras.activations.gelu(x, approximate=True)
