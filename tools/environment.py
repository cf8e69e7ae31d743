"""Say in one sentence what is wrong with the environment, if anything is.

``python`` checks the interpreter that runs this file, whatever its age;
``packages`` checks the packages beside it against requirements.txt.
"""

import re
import sys

OLDEST, NEWEST = (3, 11), (3, 13)


def python_fault(version):
    """Return what is wrong with a Python version, given as (major, minor), or None."""
    if OLDEST <= tuple(version[:2]) <= NEWEST:
        return None
    return (
        "This is Python %d.%d, and the book needs 3.11, 3.12 or 3.13. "
        "Install one of them and name it, for example: make book PYTHON=python3.12" % version[:2]
    )


def missing_packages(requirements):
    """Return the pinned packages that are not installed at their version."""
    from importlib.metadata import PackageNotFoundError, version

    from packaging.requirements import Requirement

    missing = []
    for line in requirements.splitlines():
        text = re.sub(r"(^|\s)#.*", "", line).strip()
        if not text or text.startswith("-"):
            continue
        wanted = Requirement(text)
        if wanted.marker and not wanted.marker.evaluate():
            continue
        try:
            found = version(wanted.name)
        except PackageNotFoundError:
            missing.append(wanted.name)
            continue
        if not wanted.specifier.contains(found, prereleases=True):
            missing.append("%s (%s instead of %s)" % (wanted.name, found, wanted.specifier))
    return missing


def packages_fault(requirements):
    """Return what is missing, as a sentence, or None."""
    try:
        missing = missing_packages(requirements)
    except ImportError as error:
        missing = [error.name]
    if not missing:
        return None
    return (
        "The environment in .venv lacks %s. Make it anew, which needs the network: "
        "make clean-venv, then the same command again." % ", ".join(missing)
    )


def main(arguments):
    if arguments == ["python"]:
        fault = python_fault(sys.version_info)
    else:
        from pathlib import Path  # which Python 2 does not have

        root = Path(__file__).resolve().parent.parent
        fault = packages_fault((root / "requirements.txt").read_text())
    if fault:
        sys.stderr.write(fault + "\n")
    return 1 if fault else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
