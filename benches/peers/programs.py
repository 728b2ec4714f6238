"""The peer programs: how each is started, what it can measure, and the process that answers case by case.

Protocol of a peer program: options --threads T --budget SECONDS --serve; it prints {"ready": ...}, then for
each case id read from stdin any number of result lines and {"done": id}.
"""

import json
import os
import queue
import subprocess
import sys
import threading
import time

from bench_common import HERE, scratch

TARGET = scratch("target")
OURS = "evenkeel"
RUST = {
    OURS: "peers-evenkeel",
    "kernels": "peers-kernels",
    "candle": "peers-candle",
    "burn": "peers-burn",
    "onnx": "peers-onnx",
}
PYTHON = ["torch", "ort", "litert", "openvino", "jax", "numpy"]
# What a program has nothing to say about; all others are asked for everything.
KINDS = {
    "ort": {"infer"},
    "litert": {"infer"},
    "onnx": {"infer"},
    "openvino": {"infer", "gemv_f16"},
    "numpy": {"infer", "gemm", "dropout", "philox_u32", "uniform_f32", "bn_train"},
    "kernels": {"gemm", "gemv_f16", "philox_u32", "uniform_f32", "dropout"},
}
# The first answer of a peer may have to import or compile half a framework.
FIRST_ANSWER = 120


def python():
    """The interpreter of the peers' environment, else the one that runs this."""
    path = os.path.join(scratch("venv"), "bin", "python")
    return path if os.path.exists(path) else sys.executable


def binary(package, target=""):
    """Where cargo leaves a program; `target` "native" is the build for this CPU alone."""
    return os.path.join(TARGET, target, "release", package)


def build(package):
    """Builds a Rust program; what is up to date costs a moment. Complains, and goes on with what is there."""
    command = ["cargo", "build", "--release", "-p", package]
    env = dict(os.environ, CARGO_TARGET_DIR=TARGET)
    try:
        subprocess.run(command, cwd=os.path.join(HERE, "peers-rs"), env=env, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        if not os.path.exists(binary(package)):
            sys.exit(f"{package} cannot be built: {error}")
        print(f"{package} is not built anew: {error}", file=sys.stderr)


def command(name, extra):
    """How to start `name`: a program given by --extra, a Rust program (perhaps @native), or a Python peer."""
    if name in extra:
        return [extra[name]]
    base, _, variant = name.partition("@")
    if base == OURS:
        return [binary(RUST[base])]
    if base in RUST:
        return [binary(RUST[base], variant)]
    return [python(), os.path.join(HERE, f"peer_{base}.py")]


def knows(name, kind):
    """Whether to ask `name` for cases of this kind."""
    kinds = KINDS.get(name.partition("@")[0])
    return kinds is None or kind in kinds


class Peer:
    """A running peer program, started again when it dies or hangs."""

    def __init__(self, name, cmd, threads, budget, log):
        self.name, self.log = name, log
        self.cmd = cmd + ["--threads", str(threads), "--budget", str(budget), "--serve"]
        self.start()

    def start(self):
        env = dict(os.environ)
        base, _, variant = self.name.partition("@")
        if base == OURS and variant:
            env["EVENKEEL_LEVEL"] = variant
        if base == "kernels":  # oneDNN's own dependencies lie beside it
            env["LD_LIBRARY_PATH"] = os.path.join(scratch("venv"), "lib")
        self.process = subprocess.Popen(
            self.cmd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, bufsize=1, env=env
        )
        self.lines = queue.Queue()
        threading.Thread(target=self.read, args=(self.process, self.lines), daemon=True).start()
        self.ready = False

    @staticmethod
    def read(process, lines):
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    def ask(self, case, timeout):
        """Result lines of one case."""
        out, end = [], time.time() + timeout + (0 if self.ready else FIRST_ANSWER)

        def failed(why):
            self.start()
            return out + [{"workload": case, "peer": self.name, "error": why}]

        try:
            self.process.stdin.write(case + "\n")
        except OSError:
            self.start()
            self.process.stdin.write(case + "\n")
        while True:
            try:
                line = self.lines.get(timeout=max(0.1, end - time.time()))
            except queue.Empty:
                self.process.kill()
                return failed(f"no answer in {timeout:.0f} s")
            if line is None:
                return failed("program ended")
            try:
                answer = json.loads(line)
            except ValueError:
                continue
            if "ready" in answer:
                self.ready = True
            elif "done" in answer:
                return out
            else:
                out.append(answer)

    def stop(self):
        try:
            self.process.stdin.close()
            self.process.wait(10)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()
