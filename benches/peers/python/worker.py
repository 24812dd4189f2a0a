"""A worker for PyTorch or JAX: `worker.py torch|compile|jax`. The protocol is that of src/serve.rs."""

import contextlib
import ctypes
import importlib
import os
import sys
import time

import numpy as np

from case import Case

# PyTorch, torch.compile and JAX may print; the driver must see answers only.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

SAMPLE = 1024  # rows of each gradient that are compared, as in src/agreement.rs


def resident(line):
    with open("/proc/self/status") as status:
        return next(int(l.split()[1]) / 1024 for l in status if l.startswith(line))


def restart_peak():
    """Gives freed memory back and starts a new peak; returns the resident MiB."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as clear:
        clear.write("5")
    return resident("VmRSS")


class Worker:
    def __init__(self, engine):
        self.open = importlib.import_module("jax_losses" if engine == "jax" else "torch_losses").open
        self.engine = engine
        self.step = None

    def prepare(self, case, folder):
        self.step = None
        self.case = Case(case)
        arrays = [self.read(folder, name).reshape(shape) for name, shape in self.case.inputs()]
        labels = self.read(folder, "labels")
        self.step, self.to_numpy = self.open(self.engine, self.case, arrays, labels)
        del arrays
        self.resident = restart_peak()
        return "ready"

    def read(self, folder, name):
        return np.fromfile(f"{folder}/{name}.bin", dtype=self.case.dtype)

    def check(self, stem):
        loss, gradients = self.step()
        for index, gradient in enumerate(gradients):
            rows = self.to_numpy(gradient)[:: max(1, len(gradient) // SAMPLE)]
            rows.astype(np.float64).tofile(f"{stem}.{index}.bin")
        del gradients
        restart_peak()  # what compiling and the files took is not the loss's
        return f"loss {float(loss)!r}"

    def run(self, warm_ups, calls):
        times = []
        for _ in range(int(warm_ups) + int(calls)):
            start = time.perf_counter()
            result = self.step()
            times.append((time.perf_counter() - start) * 1e3)
            del result  # freeing what the call returned is not timed
        return " ".join(["ms", *map(repr, times[int(warm_ups) :])])

    def peak(self):
        return f"mib {resident('VmHWM') - self.resident}"

    def drop(self):
        self.step = None
        return "ok"


def main():
    worker = Worker(sys.argv[1])
    for line in sys.stdin:
        request, *arguments = line.split()
        try:
            answer = getattr(worker, request)(*arguments)
        except Exception as error:  # the driver reports it and goes on with the other engines
            answer = "error " + " ".join(str(error).split())
        print(answer, file=ANSWERS, flush=True)


main()
