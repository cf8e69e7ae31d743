"""Optimisers between Keras, PyTorch and the NumPy engine: the same steps, from where one stands."""

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from helpers import optim
from helpers.arrays import Array
from helpers.convert.kinds import ConversionError, framework_of
from helpers.convert.optimizer_state import (
    KERAS_OPTIONS,
    MOMENTS,
    OptimizerState,
    read_optimizer,
    velocity_scale,
)
from helpers.convert.pairing import transfer


def convert_optimizer(optimizer: Any, source: Any, target: Any) -> Any:
    """Return an optimiser that trains ``target`` as ``optimizer`` trains ``source``.

    Hyperparameters, moments and the number of steps are taken over, so that training goes on in
    the middle. Give both models the same weights first, by ``copy_weights``, and the same losses;
    weight penalties that Keras' layers carry belong to the loss.

    Args:
        optimizer: of ``keras.optimizers``, ``torch.optim`` or ``helpers.optim``: SGD, Adam,
            AdamW, NAdam, RMSprop, Adagrad, Adadelta or Adamax.
        source: the model it trains, whole or in part, in the same framework.
        target: its counterpart, as for ``copy_weights``; its framework is the result's.

    Returns:
        an optimiser of target's framework for the counterparts of the parameters that
        ``optimizer`` trains. Keras holds learning rates, and computes powers of decay rates, in
        float32, in float64 too: each step of Adam with β₂ = 0.999 is then off by up to 6e-6 of
        itself, of other rules by less. After a change of the learning rate Keras' velocity keeps
        its size and PyTorch's does not. Keras squares an embedding's gradient row by row where an
        index is repeated: pass it through ``tf.convert_to_tensor`` before ``apply``.

    Raises:
        TypeError: the optimiser is of an unknown class, or not of source's framework.
        ConversionError: no optimiser of target's framework makes the same steps; the message
            says why, and what works.
    """
    state = read_optimizer(optimizer, framework_of(source), _variables(source))
    seen: set[int] = set()
    written: dict[int, dict[str, Any]] = {}

    def move(what: str, get: Callable[[dict[str, Array], tuple[int, ...]], Array]) -> None:
        def of(variable: Any) -> Array:
            seen.add(id(variable))
            own, shape = state.moments.get(id(variable)), tuple(variable.shape)
            return np.zeros(shape) if own is None else get(own, shape)

        def put(variable: Any, array: Array) -> None:
            written.setdefault(id(variable), {"variable": variable})[what] = array

        transfer(source, target, of, put, state=False)

    move("trained", lambda own, shape: np.ones(shape))
    if missed := state.moments.keys() - seen:
        raise ConversionError(
            f"{state.title} trains {len(missed)} parameters that no layer of source has; "
            "give the model it was made for, and put such parameters into layers"
        )
    for slot in state.slots():
        start = state.options.get("initial_accumulator_value", 0.0) if slot == "sum" else 0.0
        move(slot, lambda own, shape, s=slot, c=start: own.get(s, np.full(shape, c)))
    parameters = _trained(written, target)
    make = {"torch": _to_torch, "keras": _to_keras, "numpy": _to_engine}[framework_of(target)]
    return make(state, parameters, [written[id(p)] for p in parameters])


def _variables(model: Any) -> list[Any]:
    if isinstance(model, list | tuple):
        return [v for part in model for v in _variables(part)]
    if framework_of(model) == "keras":
        return list(model.trainable_variables)
    return list(model.parameters())


def _trained(written: dict[int, dict[str, Any]], target: Any) -> list[Any]:
    """Return target's variables that are to be trained, in its order, or refuse."""
    own, train = _variables(target), set()
    for key, entry in written.items():
        share, name = entry["trained"], getattr(entry["variable"], "path", "a parameter of target")
        if share.max(initial=0) > 1:
            raise ConversionError(
                f"{name} is one bias for the two, bias_ih and bias_hh, that source trains: alone "
                "it would move half as far. Leave source's bias_hh out of its optimizer"
            )
        if share.size and share.min() != share.max():
            raise ConversionError(
                f"{name} holds what source trains and what it does not; train all of it or nothing"
            )
        if share.all():
            train.add(key)
    keras = framework_of(target) == "keras"
    if keras and (left := [v.path for v in own if id(v) not in train]):
        raise ConversionError(
            f"{left[0]} is trainable, and its counterpart is not trained; set trainable = False on "
            "its layer"
        )
    chosen = [v for v in own if id(v) in train and (keras or getattr(v, "requires_grad", True))]
    if len(chosen) < len(train):
        raise ConversionError(
            f"{len(train) - len(chosen)} parameters that source trains are frozen in target; let "
            f"them be trained ({'trainable' if keras else 'requires_grad'} = True)"
        )
    return chosen


def _settled(state: OptimizerState, *, keras: bool) -> OptimizerState:
    """Return the state in what Keras or PyTorch can do, or refuse."""
    options, name, other = dict(state.options), state.name, "Keras'" if keras else "PyTorch's"
    plain = name == "SGD" and not options["momentum"]  # subtracts lr·λw in either way
    decays = options["weight_decay"] and not plain
    if decays and keras and not state.decoupled:
        raise ConversionError(
            f"{state.title} adds weight_decay to the gradient, {other} shrinks the weights with "
            "it; use AdamW, or regularizers.L2(weight_decay / 2) in the layers"
        )
    if decays and not keras and state.decoupled and name not in ("Adam", "AdamW", "NAdam"):
        raise ConversionError(
            f"{state.title} shrinks the weights with weight_decay, {other} adds it to the "
            "gradient; use AdamW, or helpers.optim with convention='keras'"
        )
    if decays and name == "Adam" and state.decoupled:
        name = "AdamW"
    if state.keras != keras and options.get("eps"):
        if name == "Adagrad" and state.keras:
            options["eps"] = 0.0  # √(v + ε) is the root of a sum that began ε higher
        elif name in ("RMSprop", "Adagrad", "Adamax"):
            near = "Adam" if name == "Adamax" else f"helpers.optim.{name}, which has both formulas"
            raise ConversionError(
                f"{state.title} adds eps={options['eps']:g} elsewhere than {other} {name}, and no "
                f"value there makes the same steps; use eps=0, or {near}"
            )
    return replace(state, name=name, options=options)


def _to_torch(state: OptimizerState, parameters: list[Any], entries: list[dict]) -> Any:
    import torch

    given, state = state, _settled(state, keras=False)
    options = dict(state.options)
    if state.name == "NAdam":
        options["decoupled_weight_decay"] = state.decoupled
    optimizer = getattr(torch.optim, state.name)(parameters, **options)
    for p, entry in zip(parameters, entries, strict=True):
        own = optimizer.state[p]
        if state.name != "SGD":
            own["step"] = torch.tensor(float(state.step))
        if state.name == "NAdam":
            own["mu_product"] = torch.tensor(state.mu_product, dtype=torch.float64)
        for slot in state.slots():
            own[slot] = torch.tensor(entry[slot], dtype=p.dtype, device=p.device)
        if state.name == "Adagrad":
            own["sum"] += given.options["eps"] - options["eps"]
    if state.keras and state.name in ("Adam", "AdamW"):
        optimizer.param_groups[0]["keras_epsilon"] = options["eps"]
        optimizer.register_step_pre_hook(_correct_epsilon)
    return optimizer


def _correct_epsilon(optimizer: Any, args: Any, kwargs: Any) -> None:
    """Set PyTorch's ε so that it is Keras' once the second moment's correction is divided out.

    ``copy.deepcopy`` and pickle lose PyTorch's hooks; convert again after that.
    """
    for group in optimizer.param_groups:
        step = 1 + max(int(optimizer.state[p].get("step", 0)) for p in group["params"])
        group["eps"] = group["keras_epsilon"] / math.sqrt(1 - group["betas"][1] ** step)


def _to_keras(state: OptimizerState, variables: list[Any], entries: list[dict]) -> Any:
    import keras

    state = _settled(state, keras=True)
    options = {KERAS_OPTIONS.get(n, n): value for n, value in state.options.items()}
    if options.pop("momentum_decay", 1) != 1:
        raise ConversionError(
            f"{state.title} has momentum_decay={state.options['momentum_decay']}, Keras' Nadam has "
            "1; use that, or helpers.optim.NAdam"
        )
    if "betas" in options:
        options["beta_1"], options["beta_2"] = options.pop("betas")
    options["weight_decay"] = options["weight_decay"] or None
    kind = getattr(keras.optimizers, "Nadam" if state.name == "NAdam" else state.name)
    if not state.keras and state.name in ("Adam", "AdamW"):
        kind = _torchs(kind)
    optimizer = kind(**options)
    optimizer.build(variables)
    optimizer.iterations.assign(state.step)
    if state.name == "NAdam":
        optimizer._u_product.assign(state.mu_product)
    for slot in state.slots():
        scale = 1.0
        if slot == "momentum_buffer":
            scale = velocity_scale(state.name, state.options, keras=True)
        moments = getattr(optimizer, MOMENTS[state.name][slot])
        for moment, entry in zip(moments, entries, strict=True):
            moment.assign(entry[slot] * scale)
    return optimizer


@functools.cache
def _torchs(base: type) -> type:
    """Return Keras' Adam or AdamW with PyTorch's ε, which is added after the correction."""
    from keras import ops

    class Corrected(base):
        keras_class = base.__name__

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            epsilon, dtype = self.epsilon, variable.dtype
            power = ops.power(ops.cast(self.beta_2, dtype), ops.cast(self.iterations + 1, dtype))
            self.epsilon = epsilon * ops.sqrt(1 - power)
            try:
                super().update_step(gradient, variable, learning_rate)
            finally:
                self.epsilon = epsilon

    Corrected.__name__ = Corrected.__qualname__ = f"{base.__name__}WithTorchEpsilon"
    return Corrected


def _to_engine(state: OptimizerState, parameters: list[Any], entries: list[dict]) -> Any:
    if not hasattr(optim, state.name):
        raise ConversionError(f"{state.title} has no counterpart in helpers.optim; use Adam")
    name, keras = state.name, state.keras
    if state.decoupled and state.options["weight_decay"] and not keras:
        name, keras = {"Adam": ("AdamW", False)}.get(name, (name, name != "AdamW"))
    optimizer = getattr(optim, name)(
        parameters, convention="keras" if keras else "torch", **state.options
    )
    for own, entry in zip(optimizer.state, entries, strict=True):
        own["step"] = state.step
        if name == "NAdam":
            own["mu_product"] = state.mu_product
        for slot in state.slots():
            if slot == "momentum_buffer":
                scale = velocity_scale(name, state.options, keras=False) if keras else 1.0
                own["velocity"][...] = entry[slot] * scale
            elif slot != "sum" or state.step:  # the engine adds the initial value in its first step
                own[slot][...] = entry[slot]
    return optimizer
