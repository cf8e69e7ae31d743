"""What every model of the NumPy engine is: a module with parameters and state."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from helpers.arrays import Array
from helpers.autodiff import Parameter, Tensor


class Module:
    """A layer or a model: what holds parameters and computes ``forward``.

    Parameters, modules and lists of modules are found among the attributes;
    arrays named in ``buffers`` belong to the state without being learned.
    """

    buffers: tuple[str, ...] = ()
    training = True

    def forward(self, *args: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no forward method")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def _parts(self) -> Iterator[tuple[str, Any]]:
        """Yield the attributes and, by name and number, what is in lists."""
        for name, value in vars(self).items():
            if isinstance(value, list):
                yield from ((f"{name}.{i}", part) for i, part in enumerate(value))
            else:
                yield name, value

    def children(self) -> Iterator[tuple[str, "Module"]]:
        """Yield the modules directly inside this one, with their names."""
        return ((name, part) for name, part in self._parts() if isinstance(part, Module))

    def modules(self, prefix: str = "") -> Iterator[tuple[str, "Module"]]:
        """Yield this module and all inside it, with what their names begin with."""
        yield prefix, self
        for name, child in self.children():
            yield from child.modules(f"{prefix}{name}.")

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield each parameter once, with its name."""
        seen = set()
        for prefix, module in self.modules():
            for name, value in module._parts():
                if isinstance(value, Parameter) and id(value) not in seen:
                    seen.add(id(value))
                    yield prefix + name, value

    def parameters(self) -> list[Parameter]:
        return [parameter for _, parameter in self.named_parameters()]

    def train(self, mode: bool = True) -> "Module":
        """Switch to training, where dropout drops and batch norm uses its batch."""
        for _, module in self.modules():
            module.training = mode
        return self

    def eval(self) -> "Module":
        return self.train(False)

    def _state(self) -> dict[str, Array]:
        state = {name: parameter.data for name, parameter in self.named_parameters()}
        for prefix, module in self.modules():
            state |= {prefix + name: getattr(module, name) for name in module.buffers}
        return state

    def state_dict(self) -> dict[str, Array]:
        """Return copies of all parameters and buffers by their names."""
        return {name: array.copy() for name, array in self._state().items()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Copy ``state`` into the parameters and buffers.

        Raises:
            ValueError: a name is missing or unknown, a shape differs, or a value
                is not finite; the module then keeps what it had.
        """
        own = self._state()
        if state.keys() != own.keys():
            missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
            raise ValueError(f"state must have this module's names: {missing=}, {unknown=}")
        new = {}
        for name, array in own.items():
            value = state[name].data if isinstance(state[name], Tensor) else state[name]
            if np.shape(value) != array.shape:
                raise ValueError(
                    f"state[{name!r}] must have shape {array.shape}, got {np.shape(value)}"
                )
            with np.errstate(over="ignore"):
                new[name] = np.asarray(value).astype(array.dtype)
            if not np.isfinite(new[name]).all():
                raise ValueError(f"state[{name!r}] holds NaN or infinity in {array.dtype}")
        for name, array in own.items():
            array[...] = new[name]


class Function(Module):
    """A layer without parameters: a function and its settings."""

    function: ClassVar[Callable[..., Any]]

    def __init__(self, *settings: Any, **named: Any) -> None:
        self.settings, self.named = settings, named

    def forward(self, x: Any) -> Any:
        return type(self).function(x, *self.settings, **self.named)


class Sequential(Module):
    """Layers one after the other; their names are their numbers, as in PyTorch."""

    def __init__(self, *layers: Module) -> None:
        for i, layer in enumerate(layers):
            if not isinstance(layer, Module):
                raise TypeError(f"layers must be modules, got {type(layer).__name__}")
            setattr(self, str(i), layer)

    def __iter__(self) -> Iterator[Module]:
        return (layer for _, layer in self.children())

    def forward(self, x: Any) -> Any:
        for layer in self:
            x = layer(x)
        return x


def uniform(rng: Any, fan_in: int, shape: tuple[int, ...], dtype: Any) -> Parameter:
    """Draw PyTorch's initial weights, uniform in ±1/√fan_in.

    Without a generator NumPy's global one is used, which ``helpers.seed`` seeds.
    """
    bound = 1 / math.sqrt(fan_in)
    return Parameter((rng or np.random).uniform(-bound, bound, shape).astype(dtype))


def check_sizes(**sizes: Any) -> None:
    """Refuse what is not a whole number ≥ 1, by its name."""
    for name, size in sizes.items():
        if not isinstance(size, int | np.integer) or size < 1:
            raise ValueError(f"{name} must be a whole number ≥ 1, got {size!r}")


def check_labels(name: str, labels: Array, count: int) -> None:
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu":
        kind = getattr(labels, "dtype", type(labels).__name__)
        raise TypeError(f"{name} must be an array of whole numbers, got {kind}")
    if labels.size and not (labels.min() >= 0 and labels.max() < count):
        raise ValueError(f"{name} must lie in 0 … {count - 1}, got {labels.min()} … {labels.max()}")
