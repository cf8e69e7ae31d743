"""Kernels that begin with the frameworks imported, so that the tests need not wait for them.

To import TensorFlow and PyTorch takes longer than to run most chapters. So one process imports
them, has still a single thread, and is forked for each notebook; what a notebook then does, it
does in a process of its own, as ever. A small process stands where Jupyter expects the kernel's:
it passes signals on, and ends when the kernel does. ``KERNELS=fresh make test`` does without.
"""

import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path


class Forge:
    """A process that forks kernels: started when the first is wanted, and ended by ``close``."""

    def __init__(self) -> None:
        self.folder: tempfile.TemporaryDirectory[str] | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """Return the command line of a kernel, with Jupyter's ``{connection_file}``."""
        self.folder = self.folder or tempfile.TemporaryDirectory()
        address = str(Path(self.folder.name, "forge"))
        if self.process is None:
            serve = [sys.executable, "-P", __file__, "serve", address]
            self.process = subprocess.Popen(
                serve, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        if self.process.stdout and not self.process.stdout.closed:
            ready = self.process.stdout.readline()
            self.process.stdout.close()
            if ready != b"ready\n":
                raise RuntimeError("the process that imports the frameworks ended; see its imports")
        return [sys.executable, "-S", __file__, "front", address, "-f", "{connection_file}"]

    def close(self) -> None:
        if self.process and self.process.stdin:
            self.process.stdin.close()
            self.process.wait()
        if self.folder:
            self.folder.cleanup()


FORGE = Forge()  # this process' own


def serve(address: str) -> None:
    """Import the frameworks, then fork a kernel for each connection until stdin closes."""
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # as ipykernel does
    for module in ("helpers", "torch", "keras", "ipykernel.kernelapp"):  # keras: and TensorFlow
        importlib.import_module(module)
    if len([*Path("/proc/self/task").iterdir()]) > 1:
        raise RuntimeError("an import started a thread, which a fork does not copy")
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the keepers' ends are nobody's business
    os.write(1, b"ready\n")
    while True:
        ready, _, _ = select.select([server, 0], [], [])
        if 0 in ready:
            return
        front, _ = server.accept()
        if not os.fork():
            server.close()
            keep(front)
        front.close()


def keep(front: socket.socket) -> None:
    """Fork the kernel that the front asks for, and wait for the end of either."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    text, streams, _, _ = socket.recv_fds(front, 1 << 20, 3)
    request = json.loads(text)
    kernel = os.fork()
    if not kernel:
        front.close()
        become_kernel(request, streams)
    for stream in streams:
        os.close(stream)
    while True:
        pid, status = os.waitpid(kernel, os.WNOHANG)
        if pid:
            front.send(bytes([os.waitstatus_to_exitcode(status) & 255]))
            os._exit(0)
        if select.select([front], [], [], 0.1)[0]:
            number = front.recv(1)
            os.kill(kernel, number[0] if number else signal.SIGKILL)


def become_kernel(request: dict, streams: list[int]) -> None:
    """Turn this process into an IPython kernel, as if it had been started anew."""
    import random

    import numpy as np
    from ipykernel.kernelapp import IPKernelApp

    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environ"])
    random.seed()  # else every kernel has the state of the first
    np.random.seed()
    sys.argv = ["ipykernel_launcher", *request["arguments"]]
    IPKernelApp.launch_instance(request["arguments"], parent_handle=os.getppid())
    os._exit(0)


def front(address: str, *arguments: str) -> None:
    """Stand where Jupyter expects the kernel: ask for one, and end when it does."""
    request = {"arguments": arguments, "cwd": str(Path.cwd()), "environ": dict(os.environ)}
    forge = socket.socket(socket.AF_UNIX)
    forge.connect(address)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: forge.send(bytes([number])))
    socket.send_fds(forge, [json.dumps(request).encode()], [0, 1, 2])
    code = forge.recv(1)
    sys.exit(code[0] if code else 1)


if __name__ == "__main__":
    {"serve": serve, "front": front}[sys.argv[1]](*sys.argv[2:])
