"""What an optimiser of Keras, PyTorch or the NumPy engine does, in one vocabulary.

The names and meanings are those of ``torch.optim``, whose options the engine's are; the velocity
of momentum is PyTorch's, without the learning rate.
"""

from dataclasses import dataclass
from typing import Any

from helpers.arrays import Array
from helpers.convert.kinds import PACKAGES, ConversionError, is_a
from helpers.parity import to_numpy

# By PyTorch's names: the options, and each moment's name in Keras.
OPTIONS = {
    "SGD": ("lr", "momentum", "nesterov"),
    "Adam": ("lr", "betas", "eps", "amsgrad"),
    "AdamW": ("lr", "betas", "eps", "amsgrad"),
    "NAdam": ("lr", "betas", "eps", "momentum_decay"),
    "RMSprop": ("lr", "alpha", "eps", "momentum", "centered"),
    "Adagrad": ("lr", "eps", "initial_accumulator_value"),
    "Adadelta": ("lr", "rho", "eps"),
    "Adamax": ("lr", "betas", "eps"),
}
ADAM = {
    "exp_avg": "_momentums", "exp_avg_sq": "_velocities", "max_exp_avg_sq": "_velocity_hats"
}  # fmt: skip
MOMENTS = {
    "SGD": {"momentum_buffer": "momentums"},
    "Adam": ADAM,
    "AdamW": ADAM,
    "NAdam": {"exp_avg": "_momentums", "exp_avg_sq": "_velocities"},
    "RMSprop": {
        "square_avg": "_velocities", "momentum_buffer": "_momentums",
        "grad_avg": "_average_gradients",
    },
    "Adagrad": {"sum": "_accumulators"},
    "Adadelta": {"square_avg": "_accumulated_grads", "acc_delta": "_accumulated_delta_vars"},
    "Adamax": {"exp_avg": "_m", "exp_inf": "_u"},
}  # fmt: skip
NEEDS = {"momentum_buffer": "momentum", "grad_avg": "centered", "max_exp_avg_sq": "amsgrad"}
KERAS_OPTIONS = {"lr": "learning_rate", "eps": "epsilon", "alpha": "rho"}
IN_LOOP = {  # by Keras' setting: what to call before a step
    "clipnorm": "clip_grad_norm_ with each parameter by itself",
    "global_clipnorm": "clip_grad_norm_",
    "clipvalue": "clip_grad_value_",
}


@dataclass(frozen=True)
class OptimizerState:
    """How an optimiser steps, and how far it is.

    Attributes:
        title: what to call it in a message.
        name: its class in ``torch.optim``.
        keras: whether the formula is Keras' where the two differ, as in ``helpers.optim``.
        options: those of ``OPTIONS``, and ``weight_decay``.
        decoupled: whether the weight decay shrinks the weights or is added to the gradients.
        step: the number of steps taken.
        mu_product: μ₁…μₜ of NAdam.
        moments: by the id of each variable that is trained, its moments by PyTorch's names.
    """

    title: str
    name: str
    keras: bool
    options: dict[str, Any]
    decoupled: bool
    step: int
    mu_product: float
    moments: dict[int, dict[str, Array]]

    def slots(self) -> list[str]:
        """Return the names of the moments that the options ask for."""
        return [s for s in MOMENTS[self.name] if s not in NEEDS or self.options[NEEDS[s]]]


def title(optimizer: Any) -> str:
    module = {"torch": "torch.optim.", "keras": "keras ", "helpers": "helpers.optim."}
    return module.get(_package(optimizer), "") + type(optimizer).__name__


def _package(optimizer: Any) -> str:
    return type(optimizer).__module__.split(".")[0]


def read_optimizer(optimizer: Any, framework: str, variables: list[Any]) -> OptimizerState:
    """Return how an optimiser steps and how far it is, or refuse what no other can do.

    Args:
        optimizer: of any of the frameworks.
        framework: the model's: "keras", "torch" or "numpy".
        variables: the model's trainable ones, which an unbuilt optimiser of Keras trains.

    Raises:
        TypeError: the optimiser is of an unknown class, or not of the model's framework.
        ConversionError: it does what the other frameworks' do not.
    """
    if not any(is_a(optimizer, package, "Optimizer") for package in PACKAGES.values()):
        raise TypeError(
            "optimizer must be one of keras.optimizers, torch.optim or helpers.optim, got "
            f"{type(optimizer).__name__}"
        )
    if framework not in PACKAGES or not is_a(optimizer, PACKAGES[framework], "Optimizer"):
        raise TypeError(
            f"optimizer must be of source's framework, {framework or 'which is unknown'}, got "
            f"{title(optimizer)}"
        )
    kind = getattr(optimizer, "keras_class", type(optimizer).__name__).replace("Nadam", "NAdam")
    if kind not in MOMENTS or _package(optimizer) not in (PACKAGES[framework], "helpers"):
        raise ConversionError(
            f"{title(optimizer)} has no counterpart; those that have are {', '.join(MOMENTS)}"
        )
    read = {"torch": _from_torch, "keras": _from_keras, "numpy": _from_engine}[framework]
    return read(optimizer, kind, variables)


def _from_torch(optimizer: Any, kind: str, variables: list[Any]) -> OptimizerState:
    groups = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
    if any(g != groups[0] for g in groups):
        raise ConversionError(
            f"{title(optimizer)} has groups of parameters with different settings, which Keras' "
            "and the engine's cannot have; use one optimizer for each group"
        )
    group = groups[0]
    for name in ("maximize", "dampening", "lr_decay"):
        if group.get(name):
            raise ConversionError(
                f"{title(optimizer)} has {name}={group[name]}, which the others have not; "
                f"{'minimise the negative loss' if name == 'maximize' else f'use {name}=0'}"
            )
    options = {n: group[n] for n in (*OPTIONS[kind], "weight_decay")}
    options |= {n: float(options[n]) for n in ("lr", "momentum") if n in options}
    if "keras_epsilon" in group:
        options["eps"] = group["keras_epsilon"]
    moments, steps, products = {}, set(), {1.0}
    for p in (p for g in optimizer.param_groups for p in g["params"] if p.requires_grad):
        state = {k: v for k, v in optimizer.state.get(p, {}).items() if v is not None}
        steps.add(int(state.get("step", 0)))
        products.add(float(state.get("mu_product", 1.0)))
        moments[id(p)] = {s: to_numpy(state[s]) for s in MOMENTS[kind] if s in state}
    formula, decoupled = "keras_epsilon" in group, group.get("decoupled_weight_decay", False)
    step, what = _one(steps, optimizer), title(optimizer)
    return OptimizerState(what, kind, formula, options, decoupled, step, min(products), moments)


def _one(steps: set[int], optimizer: Any) -> int:
    if len(steps) > 1:
        raise ConversionError(
            f"{title(optimizer)} has updated its parameters {sorted(steps)} times, some more often "
            "than others; convert it before its first step, or use an optimizer for each part"
        )
    return max(steps, default=0)


def _from_keras(optimizer: Any, kind: str, variables: list[Any]) -> OptimizerState:
    for name, call in IN_LOOP.items():
        if value := getattr(optimizer, name, None):
            raise ConversionError(
                f"{title(optimizer)} has {name}={value}, which is no setting of the others; leave "
                f"it out, and call {call} of torch.nn.utils or helpers.optim before each step"
            )
    for name in ("use_ema", "loss_scale_factor", "gradient_accumulation_steps"):
        if value := getattr(optimizer, name, None):
            raise ConversionError(
                f"{title(optimizer)} has {name}={value}, which is no setting of the others; leave "
                "it out, and do the same in the training loop"
            )
    if getattr(optimizer, "_exclude_from_weight_decay", None) is not None:
        raise ConversionError(
            f"{title(optimizer)} spares some variables its weight decay; use an L2 regularizer "
            "on the others' layers"
        )
    if not hasattr(optimizer._learning_rate, "assign"):
        raise ConversionError(
            f"{title(optimizer)} has a schedule as its learning rate; give it the number of this "
            "step, and the converted one a schedule of torch.optim.lr_scheduler or helpers.optim"
        )
    known = list(optimizer._trainable_variables) if optimizer.built else variables
    if held := [v.path for v in known if v.constraint is not None]:
        raise ConversionError(
            f"{held[0]} has a constraint, which Keras' optimizers apply and the others do not; "
            "leave it out, and call it on the weights after each step"
        )
    options = {n: getattr(optimizer, KERAS_OPTIONS.get(n, n), None) for n in OPTIONS[kind]}
    options |= {"lr": float(to_numpy(optimizer.learning_rate))}
    options |= {"weight_decay": optimizer.weight_decay or 0.0}
    if "betas" in options:
        options["betas"] = (optimizer.beta_1, optimizer.beta_2)
    if kind == "NAdam":
        options["momentum_decay"] = 1.0
    moments: dict[int, dict[str, Array]] = {id(v): {} for v in known if v.trainable}
    if optimizer.built:
        scale = velocity_scale(kind, options, keras=True)
        for slot, attribute in MOMENTS[kind].items():
            for v, moment in zip(known, getattr(optimizer, attribute, []), strict=False):
                factor = scale if slot == "momentum_buffer" else 1.0
                moments.get(id(v), {})[slot] = to_numpy(moment) / factor
    product = float(to_numpy(optimizer._u_product)) if kind == "NAdam" and optimizer.built else 1.0
    formula, what = not hasattr(optimizer, "keras_class"), title(optimizer)
    step = int(to_numpy(optimizer.iterations))
    return OptimizerState(what, kind, formula, options, True, step, product, moments)


def _from_engine(optimizer: Any, kind: str, variables: list[Any]) -> OptimizerState:
    options = {n: getattr(optimizer, n) for n in (*OPTIONS[kind], "weight_decay")}
    scale = velocity_scale(kind, options, keras=False) if optimizer.keras else 1.0
    moments, steps, products = {}, set(), {1.0}
    for p, state in zip(optimizer.parameters, optimizer.state, strict=True):
        steps.add(state.get("step", 0))
        products.add(state.get("mu_product", 1.0))
        own = moments[id(p)] = {s: state[s].copy() for s in MOMENTS[kind] if s in state}
        if "velocity" in state:
            own["momentum_buffer"] = state["velocity"] / scale
    formula, decoupled = optimizer.keras, optimizer.keras or optimizer.decoupled
    step, what = _one(steps, optimizer), title(optimizer)
    return OptimizerState(what, kind, formula, options, decoupled, step, min(products), moments)


def velocity_scale(kind: str, options: dict[str, Any], *, keras: bool) -> float:
    """Return what the velocity of Keras' formula is of PyTorch's; Keras itself has SGD's negative.

    Raises:
        ConversionError: the learning rate is 0, which leaves no way back.
    """
    if options.get("momentum") and not options["lr"]:
        raise ConversionError(
            f"{kind} has a momentum and the learning rate 0, in whose units Keras keeps the "
            "velocity; set the learning rate first"
        )
    return -options["lr"] if keras and kind == "SGD" else options["lr"]
