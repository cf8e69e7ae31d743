"""Environments to test in: the packages of this one, less some, and without helpers."""

import subprocess
import sys
import sysconfig
from pathlib import Path

# What lets pip install helpers without a network.
PIP = {
    "PIP_NO_INDEX": "1",
    "PIP_NO_DEPS": "1",
    "PIP_NO_BUILD_ISOLATION": "0",  # which is how pip spells yes
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}


def fresh_environment(folder: Path, *without: str) -> Path:
    """Make an environment in ``folder`` and return its Python.

    It has all packages that are installed here but ``helpers`` and those whose
    names begin like one of ``without``; they are linked, so this takes no time.
    """
    packages = folder / "packages"
    packages.mkdir(parents=True)
    for path in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if not path.name.startswith(("__editable__", "deep_learning_three", *without)):
            (packages / path.name).symlink_to(path)
    environment = folder / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    own = next(environment.glob("lib/python*/site-packages"))
    (own / "book.pth").write_text(f"{packages}\n", encoding="utf-8")
    return environment / "bin/python"
