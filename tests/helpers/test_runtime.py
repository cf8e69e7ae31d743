"""The run itself: what importing helpers does and does not do, seeds, devices, scale."""

import importlib.metadata
import json
import os
import platform
import random
import subprocess
import sys
import warnings

import numpy as np
import pytest

import helpers
from helpers import runtime

VARIABLES = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "KERAS_BACKEND": "tensorflow",
}

# Frameworks that are not installed: no finder knows them.
ABSENT = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            return None
        return self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""
# The modules of helpers that are layers of a framework, and import it.
OF_FRAMEWORKS = (".keras_layers", ".torch_layers")
# Frameworks whose import is blocked, in Python's own way.
BLOCKED = "import sys; sys.modules.update(dict.fromkeys(HIDDEN))"


def python(code, **environment):
    """Run code in a fresh Python and return what it prints as JSON."""
    clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean | environment,
        capture_output=True,
        encoding="utf-8",
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_importing_helpers_and_its_modules_imports_no_framework():
    found = python(
        "import helpers, importlib, json, pkgutil, sys\n"
        "names = [m.name for m in pkgutil.walk_packages(helpers.__path__, 'helpers.')]\n"
        f"names = [name for name in names if not name.endswith({OF_FRAMEWORKS})]\n"
        "for name in names: importlib.import_module(name)\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(json.dumps([names, sorted(loaded & {'tensorflow', 'torch', 'keras'})]))"
    )
    names, frameworks = found
    expected = {"runtime", "data", "parity", "gradcheck", "convert.steps", "metrics", "plot"}
    assert {f"helpers.{name}" for name in expected} <= set(names)
    assert frameworks == []


def test_converting_a_torch_layer_does_not_import_tensorflow(torch):
    loaded = python(
        "import helpers, json, sys, numpy as np, torch\n"
        "from helpers import convert, parity\n"
        "layer = torch.nn.Linear(3, 2)\n"
        "convert.set_dense(layer, np.ones((3, 2)), np.zeros(2))\n"
        "convert.get_dense(layer)\n"
        "parity.to_numpy(layer.weight)\n"
        "print(json.dumps([n for n in ('tensorflow', 'keras') if n in sys.modules]))"
    )
    assert loaded == []


ENVIRONMENT = (
    f"import helpers, json, os; print(json.dumps({{n: os.environ.get(n) for n in {[*VARIABLES]}}}))"
)


def test_importing_helpers_sets_the_environment():
    assert python(ENVIRONMENT) == VARIABLES


@pytest.mark.parametrize(
    ("name", "value"),
    [("TF_CPP_MIN_LOG_LEVEL", "0"), ("TF_ENABLE_ONEDNN_OPTS", "1"), ("KERAS_BACKEND", "torch")],
)
def test_values_set_by_the_reader_are_left_alone(name, value):
    assert python(ENVIRONMENT, **{name: value}) == VARIABLES | {name: value}


CAUGHT = """
import json, sys, types, warnings
sys.modules["tensorflow"] = types.ModuleType("tensorflow")
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import helpers
print(json.dumps([[w.category.__name__, str(w.message)] for w in caught]))
"""


def test_importing_helpers_after_tensorflow_warns():
    [[category, message]] = python(CAUGHT)
    assert category == "RuntimeWarning"
    assert "helpers was imported after tensorflow" in message
    assert "import helpers first" in message


def test_importing_helpers_after_tensorflow_is_fine_where_the_reader_set_the_sums():
    assert python(CAUGHT, TF_ENABLE_ONEDNN_OPTS="0") == []


def test_importing_helpers_first_warns_of_nothing():
    assert python(CAUGHT.replace('sys.modules["tensorflow"]', "unused")) == []


def test_being_quiet_twice_does_not_warn(tf):
    assert tf is sys.modules["tensorflow"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runtime.quiet()


WITHOUT = """
import importlib, json, pkgutil, random
import numpy as np
import helpers
for module in pkgutil.walk_packages(helpers.__path__, "helpers."):
    if not module.name.endswith(OF_FRAMEWORKS):
        importlib.import_module(module.name)
generator = helpers.seed(7)
drawn = [random.random(), np.random.random(), generator.random()]
missing = None
try:
    helpers.device(MISSING)
except ModuleNotFoundError as error:
    missing = error.name or str(error)
if OTHER == "torch":
    import torch
    drawn.append(torch.rand(()).item())
else:
    import tensorflow as tf
    drawn.append(float(tf.random.uniform(())))
loaded = sys.modules.get(MISSING) is not None
print(json.dumps([drawn, missing, loaded, helpers.device(OTHER)]))
"""


# SciPy, which Keras imports, cannot live with a blocked torch: that case is left out.
@pytest.mark.parametrize(
    ("missing", "hide"),
    [("tensorflow", ABSENT), ("tensorflow", BLOCKED), ("torch", ABSENT)],
    ids=["tensorflow-absent", "tensorflow-blocked", "torch-absent"],
)
def test_one_framework_is_enough(missing, hide, request):
    other = "torch" if missing == "tensorflow" else "tensorflow"
    there = request.getfixturevalue("torch" if other == "torch" else "tf")
    names = f"MISSING, OTHER = {missing!r}, {other!r}; HIDDEN = (MISSING,)"
    names += f"; OF_FRAMEWORKS = {OF_FRAMEWORKS}"
    code = f"{names}\n{hide}\n{WITHOUT}"
    drawn, error, loaded, device = python(code)
    generator = helpers.seed(7)
    first = there.rand(()).item() if other == "torch" else float(there.random.uniform(()))
    expected = [random.random(), np.random.random(), generator.random(), first]
    assert drawn == pytest.approx(expected, rel=1e-6)
    assert missing in error
    assert not loaded
    assert device == helpers.device(other)


@pytest.mark.parametrize("hide", [ABSENT, BLOCKED], ids=["absent", "blocked"])
def test_both_frameworks_may_be_missing(hide):
    code = (
        f"HIDDEN = {runtime.FRAMEWORKS}\n{hide}\nimport json, random, helpers\n"
        "generator = helpers.seed(3)\n"
        "print(json.dumps([random.random(), generator.random(), sorted(helpers.versions())]))"
    )
    first, second, names = python(code)
    assert first == random.Random(3).random()
    assert second == np.random.default_rng(3).random()
    assert {"python", "numpy"} <= set(names)


def test_the_seed_fixes_the_streams_of_python_and_numpy():
    generator = helpers.seed(7)
    assert isinstance(generator, np.random.Generator)
    assert random.random() == random.Random(7).random()
    assert np.random.random() == np.random.RandomState(7).random()
    assert generator.random() == np.random.default_rng(7).random()


def test_the_seed_fixes_the_stream_of_torch(torch):
    helpers.seed(7)
    ours = torch.rand(5)
    alone = torch.Generator().manual_seed(7)
    assert torch.equal(ours, torch.rand(5, generator=alone))


def test_the_seed_fixes_the_streams_of_tensorflow_and_keras(tf):
    def draw():
        layer = tf.keras.layers.Dense(4)
        layer.build((None, 4))
        numbers = [tf.random.uniform([4]), tf.keras.random.normal([4]), layer.kernel]
        return np.concatenate([np.ravel(n.numpy()) for n in numbers])

    helpers.seed(7)
    first, further = draw(), draw()
    helpers.seed(7)
    np.testing.assert_array_equal(draw(), first)
    helpers.seed(8)
    other = draw()
    assert not np.any(other == first)
    assert not np.any(further == first)


@pytest.mark.parametrize("n", [0, 2**32 - 1, np.int64(5), np.uint8(5)])
def test_every_integer_in_the_range_is_a_seed(n):
    drawn = helpers.seed(n).random()
    assert drawn == np.random.default_rng(int(n)).random()
    assert random.random() == random.Random(int(n)).random()


@pytest.mark.parametrize("n", [True, False, np.True_, 1.0, np.float64(1), "1", None])
def test_a_seed_that_is_no_integer_is_refused(n):
    with pytest.raises(TypeError, match=rf"n must be an integer, got .*{type(n).__name__}"):
        helpers.seed(n)


@pytest.mark.parametrize("n", [-1, 2**32, np.int64(-5)])
def test_a_seed_out_of_range_is_refused_and_changes_nothing(n):
    before = random.getstate()
    with pytest.raises(ValueError, match=rf"n must lie in 0 ≤ n < 2\*\*32, got {int(n)}$"):
        helpers.seed(n)
    assert random.getstate() == before


@pytest.mark.parametrize(("found", "name"), [([], "/CPU:0"), (["a GPU"], "/GPU:0")])
def test_the_device_of_tensorflow(tf, monkeypatch, found, name):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: found)
    assert helpers.device("tensorflow") == name


@pytest.mark.parametrize(
    ("cuda", "mps", "name"),
    [
        (False, False, "cpu"),
        (False, True, "mps"),
        (True, False, "cuda"),
        (True, True, "cuda"),
    ],
)
def test_the_device_of_torch(torch, monkeypatch, cuda, mps, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert helpers.device("torch") == name


def test_the_devices_can_be_used(tf, torch):
    with tf.device(helpers.device("tensorflow")):
        assert float(tf.reduce_sum(tf.ones(3))) == 3
    assert torch.ones(3, device=helpers.device("torch")).sum().item() == 3


@pytest.mark.parametrize("framework", runtime.FRAMEWORKS)
def test_the_device_of_a_missing_framework(monkeypatch, framework):
    monkeypatch.setitem(sys.modules, framework, None)
    with pytest.raises(ModuleNotFoundError, match=framework):
        helpers.device(framework)


@pytest.mark.parametrize("framework", ["jax", "PyTorch", "", None])
def test_the_device_of_an_unknown_framework_is_refused(framework):
    expected = rf"framework must be one of \('tensorflow', 'torch'\), got {framework!r}"
    with pytest.raises(ValueError, match=expected):
        helpers.device(framework)


def test_the_scale_is_small_unless_asked(monkeypatch):
    monkeypatch.delenv("HELPERS_SCALE", raising=False)
    assert helpers.scale() == "small"


@pytest.mark.parametrize("value", ["small", "full"])
def test_the_scale_is_read_at_every_call(monkeypatch, value):
    monkeypatch.setenv("HELPERS_SCALE", value)
    assert helpers.scale() == value


@pytest.mark.parametrize("value", ["", "FULL", "large", " full"])
def test_an_unknown_scale_is_refused(monkeypatch, value):
    monkeypatch.setenv("HELPERS_SCALE", value)
    expected = rf"HELPERS_SCALE must be one of \('small', 'full'\), got '{value}'"
    with pytest.raises(ValueError, match=expected):
        helpers.scale()


def test_versions_are_those_imported(tf, torch):
    found = helpers.versions()
    assert found["python"] == platform.python_version().rstrip("+")
    assert found["numpy"] == np.__version__
    assert found["tensorflow"] == tf.__version__
    assert found["keras"] == tf.keras.__version__
    assert found["torch"].partition("+")[0] == torch.__version__.partition("+")[0]


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        ({"numpy": "2.1"}, {"numpy": "2.1"}),
        ({"tensorflow-cpu": "2.20"}, {"tensorflow": "2.20"}),
        ({"tensorflow": "2.21", "tensorflow-cpu": "2.20"}, {"tensorflow": "2.21"}),
        ({"torch": "2.9", "keras": "3.1"}, {"torch": "2.9", "keras": "3.1"}),
    ],
)
def test_versions_leave_out_what_is_missing(monkeypatch, installed, expected):
    class Distribution:
        def __init__(self, name):
            if name not in installed:
                raise importlib.metadata.PackageNotFoundError(name)
            self.version = installed[name]

    monkeypatch.setattr(importlib.metadata, "distribution", Distribution)
    found = helpers.versions()
    assert found.pop("python") == platform.python_version().rstrip("+")
    assert found == expected


MALLOC = """
import os, resource, sys
import helpers
import numpy as np

def faults(steps=50, size=2**20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        arrays = [np.full(size, 1.0, np.float32) for _ in range(4)]
        del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults(2)
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_freed_arrays_are_kept_for_the_next_ones_unless_switched_off():
    def faults(**settings):
        kept = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
        run = subprocess.run(
            [sys.executable, "-c", MALLOC],
            env=kept | settings, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert run.stderr == ""
        return int(run.stdout)

    assert faults() < 1000
    assert faults(HELPERS_MALLOC="system") > 10_000
    assert faults(MALLOC_TRIM_THRESHOLD_="1", MALLOC_MMAP_THRESHOLD_="65536") > 10_000


def test_the_allocator_is_asked_where_there_is_one(monkeypatch):
    for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "HELPERS_MALLOC"):
        monkeypatch.delenv(name, raising=False)
    assert runtime.keep_freed_memory() == (platform.libc_ver()[0] == "glibc")
    monkeypatch.setenv("HELPERS_MALLOC", "system")
    assert runtime.keep_freed_memory() is False
    monkeypatch.delenv("HELPERS_MALLOC")
    monkeypatch.setattr(runtime.sys, "platform", "darwin")
    assert runtime.keep_freed_memory() is False


# Triton before TensorFlow


@pytest.mark.parametrize(
    ("installed", "expected"),
    [(("triton", "tensorflow"), ["triton", "tensorflow"]), (("tensorflow",), ["tensorflow"])],
)
def test_triton_is_loaded_just_before_tensorflow(tmp_path, installed, expected):
    for name in installed:
        (tmp_path / f"{name}.py").write_text("import builtins; builtins.order.append(__name__)")
    hide = "" if "triton" in installed else "sys.modules['triton'] = None; "
    code = (
        f"import builtins, json, sys; builtins.order = []; sys.path.insert(0, {str(tmp_path)!r})\n"
        f"{hide}import helpers, numpy; first = list(order)\n"
        "import tensorflow; json.dump([first, order], sys.stdout)"
    )
    assert python(code) == [[], expected]


def test_a_triton_that_cannot_be_imported_is_left_alone(tmp_path):
    (tmp_path / "triton.py").write_text("raise ImportError('no such driver')")
    (tmp_path / "tensorflow.py").write_text("")
    code = (
        f"import json, sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import helpers, tensorflow; json.dump('tensorflow' in sys.modules, sys.stdout)"
    )
    assert python(code) is True


def test_an_optimiser_of_torch_is_made_after_tensorflow_was_imported(tf, torch):
    """Where Triton is installed, as with PyTorch's default wheel on Linux, this used to crash."""
    code = (
        "import helpers, json, sys, tensorflow, torch\n"
        "torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.1)\n"
        "json.dump('torch._dynamo' in sys.modules, sys.stdout)"
    )
    assert python(code) is True
