"""Kernels that begin with the frameworks imported are kernels like any other."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL

import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import KernelManager

from tools.kernels import FORGE, Forge

PATIENCE = 300  # seconds after which something hangs, also beside other jobs

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="kernels are forked on Linux alone"
)


@contextmanager
def kernel() -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
    class Specs(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            return KernelSpec(argv=FORGE.command(), language="python")

    manager = KernelManager(kernel_name="forged", kernel_spec_manager=Specs())
    manager.start_kernel(stderr=DEVNULL)
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=PATIENCE)
    try:
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def said(client: BlockingKernelClient, code: str) -> str:
    """Return what a cell prints, or the name of its error."""
    texts = []

    def hear(message: dict) -> None:
        content = message["content"]
        texts.append(content.get("text") or content.get("ename") or "")

    client.execute_interactive(code, output_hook=hear, timeout=PATIENCE)
    return "".join(texts).strip()


def ends(pid: int) -> bool:
    """Tell whether a process is gone before long."""
    until = time.monotonic() + PATIENCE
    while Path(f"/proc/{pid}").exists() and time.monotonic() < until:
        time.sleep(0.1)
    return not Path(f"/proc/{pid}").exists()


def test_a_kernel_begins_with_the_frameworks_and_a_random_state_of_its_own() -> None:
    code = "import random, sys, numpy; print('torch' in sys.modules, random.random(), {})"
    heard = []
    for _ in range(2):
        with kernel() as (_, client):
            heard.append(said(client, code.format("numpy.random.rand()")).split())
            assert said(client, "x, 1 / 0") == "NameError"
            assert (
                said(client, "x = 1") == "" and said(client, "print(x, __name__)") == "1 __main__"
            )
            assert said(client, "import tools") == "ModuleNotFoundError"
    (one, *first), (other, *second) = heard
    assert one == other == "True"
    assert not {*first} & {*second}


def test_a_kernel_is_interrupted_and_ended() -> None:
    with kernel() as (manager, client):
        pid = int(said(client, "import os; print(os.getpid())"))
        client.execute("import time; print('begun', flush=True); time.sleep(600)")
        while "begun" not in client.get_iopub_msg(timeout=PATIENCE)["content"].get("text", ""):
            pass
        manager.interrupt_kernel()
        assert client.get_shell_msg(timeout=PATIENCE)["content"]["ename"] == "KeyboardInterrupt"
        assert said(client, "print('on')").endswith("on")
    assert ends(pid)


def test_a_kernel_ends_with_its_front_and_the_front_with_it() -> None:
    with kernel() as (manager, client):
        pid = int(said(client, "import os; print(os.getpid())"))
        manager.provisioner.process.kill()
        assert ends(pid)
    with kernel() as (manager, client):
        client.execute("import os; os._exit(7)")
        assert manager.provisioner.process.wait(timeout=PATIENCE) == 7


def test_a_failing_import_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    (tmp_path / "helpers.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    forge = Forge()
    with pytest.raises(RuntimeError, match="imports the frameworks ended"):
        forge.command()
    forge.close()
