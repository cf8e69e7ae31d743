"""Optimisers, schedules and clipping in NumPy: PyTorch's names, its values or Keras'.

In formulas, by element, w is a parameter, g its gradient, t the number of its update from 1.
"""

import inspect
import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from numbers import Real
from typing import Any, ClassVar

import numpy as np

Array = np.ndarray
State = dict[str, Any]  # by name, arrays, zero until first used, and counts
BELOW_ONE = ("momentum", "alpha", "rho", "betas[0]", "betas[1]", "factor")


class Optimizer:
    """A rule that moves parameters against their gradients; the base of those below.

    Updates each parameter's float array ``data`` in place, unless its ``grad`` is None; what was
    computed from the parameters has to be differentiated before that.
    ``lr`` may be set between steps. ``convention`` says whose formula and defaults are meant:
    "torch" or "keras"; ``TORCH`` and ``KERAS`` list a class' options. In all, ``weight_decay`` λ
    adds λw to g (torch) or first shrinks w by lr·λw (keras; AdamW in both).
    """

    TORCH: ClassVar = {"weight_decay": 0.0}
    KERAS: ClassVar = TORCH
    momentum = nesterov = amsgrad = decoupled = False

    def __init_subclass__(cls) -> None:
        """Show PyTorch's options and defaults in ``help``."""
        named = Optimizer.TORCH | cls.TORCH | {"convention": "torch"}
        show = inspect.Parameter
        cls.__signature__ = inspect.Signature(
            [show("parameters", show.POSITIONAL_OR_KEYWORD)]
            + [
                show(n, show.KEYWORD_ONLY if n != "lr" else show.POSITIONAL_OR_KEYWORD, default=d)
                for n, d in sorted(named.items(), key=lambda item: item[0] != "lr")
            ]
        )

    def __init__(self, parameters: Iterable, lr=None, *, convention="torch", **options: Any):
        if convention not in ("torch", "keras"):
            raise ValueError(f"convention must be 'torch' or 'keras', got {convention!r}")
        self.keras = convention == "keras"
        self.parameters = [] if hasattr(parameters, "grad") else list(parameters)
        for i, p in enumerate(self.parameters):
            if not (hasattr(p, "grad") and np.asarray(getattr(p, "data", None)).dtype.kind == "f"):
                raise TypeError(f"parameters[{i}] must have .grad and float .data, got {p!r:.60}")
        if not 0 < len({id(p) for p in self.parameters}) == len(self.parameters):
            raise ValueError(f"parameters must list one or more, each once, got {parameters!r:.60}")
        defaults = Optimizer.TORCH | (self.KERAS if self.keras else self.TORCH)
        if odd := sorted(options.keys() - defaults):
            raise TypeError(f"options of {type(self).__name__} are {sorted(defaults)}, got {odd}")
        for name, default in defaults.items():
            value = lr if name == "lr" else options.get(name)
            setattr(self, name, _number(name, default if value is None else value))
        if self.nesterov and not self.momentum:
            raise ValueError(f"nesterov needs a momentum above 0, got {self.momentum}")
        self.state = [defaultdict(partial(np.zeros_like, p.data), step=0) for p in self.parameters]
        size = max(p.data.size for p in self.parameters)
        self._scratch = {p.data.dtype: np.empty((3, size), p.data.dtype) for p in self.parameters}

    def step(self) -> None:
        """Update each parameter that has a gradient; ValueError if a gradient's shape is wrong."""
        for i, p in enumerate(self.parameters):
            if p.grad is not None and p.grad.shape != p.data.shape:
                raise ValueError(
                    f"parameters[{i}].grad must have shape {p.data.shape}, got {p.grad.shape}"
                )
        for p, state in zip(self.parameters, self.state, strict=True):
            w, g, lr = p.data, p.grad, _number("lr", self.lr)
            if g is None:
                continue
            a, b, c = (row[: w.size].reshape(w.shape) for row in self._scratch[w.dtype])
            if self.weight_decay and (self.keras or self.decoupled):
                w *= 1.0 - lr * self.weight_decay
            elif self.weight_decay:
                g = np.add(g, np.multiply(w, self.weight_decay, out=c), out=c)
            state["step"] += 1
            d = self._direction(g, state, a, b)
            if self.momentum:
                if self.keras:
                    d, lr = np.multiply(d, lr, out=a), 1.0
                u = np.multiply(state["velocity"], self.momentum, out=state["velocity"])
                u += d
                d = np.add(d, np.multiply(u, self.momentum, out=b), out=b) if self.nesterov else u
            w -= np.multiply(d, lr, out=b)

    def zero_grad(self) -> None:
        """Set every gradient to None."""
        for p in self.parameters:
            p.grad = None

    def _direction(self, g: Array, state: State, a: Array, b: Array) -> Array:
        """Return d of w ← w − lr·d: g itself, or a; a and b are scratch."""
        return g

    def _root(self, squares: Array, out: Array) -> Array:
        if self.keras:
            return np.sqrt(np.add(squares, self.eps, out=out), out=out)
        return np.add(np.sqrt(squares, out=out), self.eps, out=out)


class SGD(Optimizer):
    """w ← w − lr·g (Robbins, Monro 1951); with momentum μ (Polyak 1964), from u = 0:
    torch: u ← μu + g, w ← w − lr·u. Keras: u ← μu + lr·g, w ← w − u: steps in u keep their lr.
    Nesterov (1983; Sutskever et al. 2013) moves by g + μu (Keras: lr·g + μu) in place of u.
    """

    TORCH: ClassVar = {"lr": 1e-3, "momentum": 0.0, "nesterov": False}
    KERAS: ClassVar = TORCH | {"lr": 1e-2}


class Adagrad(Optimizer):
    """v ← v + g², from v = initial_accumulator_value (Duchi, Hazan, Singer 2011);
    torch: w ← w − lr·g / (√v + ε). Keras: w ← w − lr·g / √(v + ε).
    """

    TORCH: ClassVar = {"lr": 1e-2, "initial_accumulator_value": 0.0, "eps": 1e-10}
    KERAS: ClassVar = {"lr": 1e-3, "initial_accumulator_value": 0.1, "eps": 1e-7}

    def _direction(self, g: Array, state: State, a: Array, b: Array) -> Array:
        if state["step"] == 1:
            state["sum"] += self.initial_accumulator_value
        state["sum"] += np.square(g, out=a)
        return np.divide(g, self._root(state["sum"], a), out=a)


class RMSprop(Optimizer):
    """v ← αv + (1 − α)g² (Tieleman, Hinton 2012); Keras' name for α is rho.
    torch: d = g / (√v + ε). Keras: d = g / √(v + ε). w moves by d as by g in SGD.
    Centered (Graves 2013): v − m² stands for v in d, with m ← αm + (1 − α)g.
    """

    TORCH: ClassVar = {"lr": 1e-2, "alpha": 0.99, "eps": 1e-8, "momentum": 0.0, "centered": False}
    KERAS: ClassVar = TORCH | {"lr": 1e-3, "alpha": 0.9, "eps": 1e-7}

    def _direction(self, g: Array, state: State, a: Array, b: Array) -> Array:
        v = _average(state["square_avg"], np.square(g, out=a), self.alpha, a)
        if self.centered:
            m = _average(state["grad_avg"], g, self.alpha, a)
            v = np.subtract(v, np.square(m, out=a), out=a)
        return np.divide(g, self._root(v, a), out=a)


class Adadelta(Optimizer):
    """v ← ρv + (1 − ρ)g², d = g·√(x + ε) / √(v + ε), x ← ρx + (1 − ρ)d², w ← w − lr·d
    in both conventions; only the defaults differ (Zeiler 2012, where lr is 1).
    """

    TORCH: ClassVar = {"lr": 1.0, "rho": 0.9, "eps": 1e-6}
    KERAS: ClassVar = {"lr": 1e-3, "rho": 0.95, "eps": 1e-7}

    def _direction(self, g: Array, state: State, a: Array, b: Array) -> Array:
        v = _average(state["square_avg"], np.square(g, out=a), self.rho, a)
        np.sqrt(np.add(state["acc_delta"], self.eps, out=a), out=a)
        a /= np.sqrt(np.add(v, self.eps, out=b), out=b)
        a *= g
        _average(state["acc_delta"], np.square(a, out=b), self.rho, b)
        return a


class Adam(Optimizer):
    """m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g² (Kingma, Ba 2015);
    torch: w ← w − lr·m̂ / (√v̂ + ε), with m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ).
    Keras, with ε before the correction: w ← w − lr·√(1 − β₂ᵗ) / (1 − β₁ᵗ)·m / (√v + ε).
    AMSGrad (Reddi, Kale, Kumar 2018): the largest v so far stands for v.
    """

    TORCH: ClassVar = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "amsgrad": False}
    KERAS: ClassVar = TORCH | {"eps": 1e-7}

    def _direction(self, g: Array, state: State, a: Array, b: Array) -> Array:
        m = _average(state["exp_avg"], g, self.betas[0], a)
        v = _average(state["exp_avg_sq"], np.square(g, out=a), self.betas[1], a)
        if self.amsgrad:
            v = np.maximum(state["max_exp_avg_sq"], v, out=state["max_exp_avg_sq"])
        correction = math.sqrt(1.0 - self.betas[1] ** state["step"])
        of_m, of_g, eps = self._shares(state, correction)
        np.multiply(m, of_m * correction, out=a)
        if of_g:
            a += np.multiply(g, of_g * correction, out=b)
        return np.divide(a, np.add(np.sqrt(v, out=b), eps, out=b), out=a)

    def _shares(self, state: State, correction: float) -> tuple[float, float, float]:
        """Return how much of m and of g the step takes, and the ε beside √v."""
        eps = self.eps if self.keras else self.eps * correction
        return 1.0 / (1.0 - self.betas[0] ** state["step"]), 0.0, eps


class AdamW(Adam):
    """Adam after w ← w − lr·λw, in both conventions (Loshchilov, Hutter 2019)."""

    TORCH: ClassVar = Adam.TORCH | {"weight_decay": 1e-2}
    KERAS: ClassVar = Adam.KERAS | {"weight_decay": 4e-3}
    decoupled = True


class NAdam(Adam):
    """Adam with m̂ = μₜ₊₁m / (1 − μ₁…μₜ₊₁) + (1 − μₜ)g / (1 − μ₁…μₜ) (Dozat 2016);
    μₜ = β₁(1 − 0.96^(ψt) / 2); ψ is momentum_decay, 0.004 in torch, 1 in Keras. ε beside √v̂.
    """

    TORCH: ClassVar = {"lr": 2e-3, "betas": (0.9, 0.999), "eps": 1e-8, "momentum_decay": 4e-3}
    KERAS: ClassVar = TORCH | {"lr": 1e-3, "eps": 1e-7, "momentum_decay": 1.0}

    def _shares(self, state: State, correction: float) -> tuple[float, float, float]:
        t, psi = state["step"], self.momentum_decay
        mu, after = (self.betas[0] * (1.0 - 0.5 * 0.96 ** (i * psi)) for i in (t, t + 1))
        product = state["mu_product"] = state.get("mu_product", 1.0) * mu
        return after / (1.0 - product * after), (1.0 - mu) / (1.0 - product), self.eps * correction


class LambdaLR:
    """lr = lr₀·lr_lambda(t), t counting the calls of ``step``; the base of those below."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float]) -> None:
        self.optimizer, self.lr_lambda, self.base_lr = optimizer, lr_lambda, optimizer.lr
        self.last_epoch = -1
        self.step()

    def step(self) -> None:
        """Set the learning rate of what follows, be it a step or an epoch."""
        self.last_epoch += 1
        self.optimizer.lr = _number("lr", self.base_lr * self.lr_lambda(self.last_epoch))


class StepLR(LambdaLR):
    """lr = lr₀·γ^⌊t / step_size⌋."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        size = _number("step_size", step_size, 1)
        super().__init__(optimizer, lambda t: gamma ** (t // size))


class MultiStepLR(LambdaLR):
    """lr = lr₀·γ^(number of milestones up to t)."""

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1) -> None:
        super().__init__(optimizer, lambda t: gamma ** bisect_right(sorted(milestones), t))


class ExponentialLR(LambdaLR):
    """lr = lr₀·γᵗ."""

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        super().__init__(optimizer, lambda t: gamma**t)


class CosineAnnealingLR(LambdaLR):
    """lr = eta_min + (lr₀ − eta_min)·(1 + cos(πt / T_max)) / 2 (Loshchilov, Hutter 2017)."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:  # noqa: N803
        if not optimizer.lr:
            raise ValueError("optimizer.lr must be above 0 for a schedule to lower it, got 0")
        low, turn = _number("eta_min", eta_min) / optimizer.lr, math.pi / _number("T_max", T_max, 1)
        super().__init__(optimizer, lambda t: low + (1 - low) * (1 + math.cos(turn * t)) / 2)


class ReduceLROnPlateau:
    """lr ← max(factor·lr, min_lr) once more than ``patience`` metrics in a row were not below
    (1 − threshold)·the best so far.
    """

    def __init__(self, optimizer, factor=0.1, patience=10, threshold=1e-4, min_lr=0.0) -> None:
        self.optimizer, self.factor, self.patience = optimizer, _number("factor", factor), patience
        self.share, self.min_lr = 1.0 - _number("threshold", threshold), _number("min_lr", min_lr)
        self.best, self.waited = math.inf, 0

    def step(self, metric: float) -> None:
        """Take the next metric, such as an epoch's validation loss."""
        better = metric < self.best * self.share
        self.best, self.waited = (metric, 0) if better else (self.best, self.waited + 1)
        if self.waited > self.patience:
            lower = max(self.factor * self.optimizer.lr, self.min_lr)
            self.optimizer.lr, self.waited = min(lower, self.optimizer.lr), 0


def clip_grad_value_(parameters: Iterable, clip_value: float) -> None:
    """Clip gradients to ±clip_value; new arrays take their place."""
    bound = _number("clip_value", clip_value)
    for p in parameters:
        p.grad = None if p.grad is None else np.asarray(np.clip(p.grad, -bound, bound))


def clip_grad_norm_(parameters: Iterable, max_norm: float, *, each=False, eps=1e-6) -> float:
    """Scale gradients by min(1, max_norm / (n + eps)); return the norm of all before.

    n is that norm (Pascanu, Mikolov, Bengio 2013) or, with ``each``, every array's own: Keras'
    clipnorm. Keras' eps is 0. New arrays take the place of the old.
    """
    limit, found = _number("max_norm", max_norm), [p for p in parameters if p.grad is not None]
    norms = [float(np.linalg.norm(p.grad)) for p in found]
    total = math.hypot(*norms)
    for p, own in zip(found, norms, strict=True):
        norm = (own if each else total) + eps
        if not norm <= limit:
            p.grad = np.asarray(p.grad * (limit / norm))
    return total


def _average(mean: Array, value: Array, decay: float, scratch: Array) -> Array:
    mean *= decay
    mean += np.multiply(value, 1.0 - decay, out=scratch)
    return mean


def _number(name: str, value: Any, low: float = 0.0) -> Any:
    """Return a number in bounds as Python's float, which leaves float32 arrays float32."""
    if name == "betas" and np.shape(value) == (2,):
        return _number("betas[0]", value[0]), _number("betas[1]", value[1])
    below = 1.0 if name in BELOW_ONE else math.inf
    if name == "betas" or not isinstance(value, Real) or not low <= value < below:
        kind = "two numbers" if name == "betas" else f"a number from {low:g} to below {below:g}"
        raise ValueError(f"{name} must be {kind}, got {value!r}")
    return float(value)
