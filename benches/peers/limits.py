"""What the machine could do at best: for each workload a time that arithmetic and memory do not let anyone beat.

An estimate from the rates that peers-limits measures: operations at the rate of multiply-adds, or bytes at the rate at
which a set of that size can be read, whichever takes longer. The rates are those of the widest vectors that the machine
has, AVX-512 or AVX2 (`Limits.level`). Bandwidth beyond the private caches depends on the neighbours, so that part is
uncertain by some 20 %: a share above 100 % means "nothing left to win", not a wonder.
"""

import json
import math
import os
import re
import subprocess
import sys

from bench_common import DATA, SPEC, Case
from programs import binary, build

# As the ids name it and as people do; the widest first.
LEVELS = {"avx512": "AVX-512", "avx2": "AVX2"}
FILE = os.path.join(DATA, "limits.jsonl")
# What peers-limits calls a set, and its KiB. The names are old; which cache it lies in is the machine's affair.
SIZES = {
    "l1_16k": 16,
    "l1_32k": 32,
    "l2_256k": 256,
    "384k": 384,
    "l2_1m": 1024,
    "l2_1m5": 1536,
    "l2_2m": 2048,
    "2m67": 2732,
    "4m": 4096,
    "l3_8m": 8192,
    "16m": 16384,
    "l3_64m": 65536,
    "l3_128m": 131072,
    "mem_1g": 1048576,
}
F16_SIZES = {"l1_8k": 16, "l2_256k": 512, "l3_16m": 32768}


def measure(budget=0.1):
    """Runs peers-limits, keeps its answers for later runs, and returns them."""
    build("peers-limits")
    text = subprocess.run([binary("peers-limits"), "--budget", str(budget)], capture_output=True, text=True).stdout
    rows = [json.loads(line) for line in text.splitlines()]
    for row in rows:
        if "error" in row:
            print(f"no limits: {row['error']}", file=sys.stderr)
    rows = [row for row in rows if "rate_best" in row]
    if rows:
        with open(FILE, "w") as f:
            f.writelines(json.dumps(row) + "\n" for row in rows)
    return rows


def stored():
    """What an earlier run measured, else it is measured now."""
    if os.path.exists(FILE):
        with open(FILE) as f:
            return [json.loads(line) for line in f]
    return measure()


def caches(text):
    """Bytes of each cache, of those that share it, by name: from "L2 4 MiB (2 instances), L3 ...", as a run says it."""
    unit = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
    found = re.findall(r"(L\d\w?) ([\d.]+) ([KMG]iB) \((\d+) instances?\)", text)
    return {name: float(size) * unit[u] / int(count) for name, size, u, count in found}


class Limits:
    """Best times by workload id."""

    def __init__(self, rows):
        self.rates = {}
        for row in rows:
            key = row["threads"], row["workload"].removeprefix("limit/")
            self.rates[key] = max(row["rate_best"], self.rates.get(key, 0.0))
        # With AVX-512 some rates of AVX2 are there too.
        names = {name for _, name in self.rates}
        self.level = next((level for level in LEVELS if f"fma_f32_{level}" in names), None)

    def __bool__(self):
        return bool(self.rates)

    def at_size(self, threads, kind, size, sizes=SIZES, suffix=""):
        """Rate for a set of `size` bytes, between the measured sizes on a straight line of logarithms."""
        points = {}
        for (t, name), rate in self.rates.items():
            tail = name.removeprefix(kind) if name.startswith(kind) else None
            if t != threads or tail is None:
                continue
            for label, kib in sizes.items():
                # The best way of reading counts: with several streams, with huge pages.
                if tail.endswith("_" + label + suffix):
                    points[kib] = max(rate, points.get(kib, 0.0))
        kib, known = size / 1024, sorted(points)
        if not known:
            return math.nan
        lower = max((k for k in known if k <= kib), default=known[0])
        upper = min((k for k in known if k >= kib), default=known[-1])
        if lower == upper or not lower < kib < upper:
            return points[upper] if kib <= known[0] or lower == upper else points[lower]
        share = math.log(kib / lower) / math.log(upper / lower)
        return points[lower] ** (1 - share) * points[upper] ** share

    def read(self, threads, size, moved=None):
        """Microseconds to read `moved` bytes (`size`, if not given) out of a set of `size`, divided among threads."""
        return 1e-3 * (moved or size) / self.at_size(threads, f"read_{self.level}", size / threads)

    def copy(self, threads, size, moved):
        return 1e-3 * moved / self.at_size(threads, f"copy_{self.level}", size / threads / 2, suffix="_read+write")

    def widen(self, threads, values):
        """Microseconds to widen and use half-precision values.

        AVX2: out of the nearest cache. From farther away the loop, which has one stream, waits for bytes longer than
        `read` says it has to. AVX-512: out of a set of that size, as its records have been judged.
        """
        size = 0 if self.level == "avx2" else 2 * values / threads
        return 1e-3 * values / self.at_size(threads, f"f16_to_f32_sum_{self.level}", size, F16_SIZES)

    def flops(self, threads, count):
        return 1e-3 * count / self.rates.get((threads, f"fma_f32_{self.level}"), math.nan)

    def philox(self, threads, words):
        """Microseconds for random words, of all ten rounds.

        AVX-512: two multiplies, two shifts and two three-way operations a round on two ports: 30 cycles for 32 words,
        at the frequency that the multiply-adds ran at (64 operations a cycle).

        AVX2 has no three-way operation, and how many of the eight go at once, and of which kinds, differs from CPU to
        CPU: what the loop of peers-limits reached, which is nothing but rounds with every word in a register. Who has
        counters that differ in one word alone can leave out a ninth of that.
        """
        if self.level == "avx512":
            return self.flops(threads, 64 * words * 30 / 32)
        return 1e-3 * words / self.rates.get((threads, f"philox4x32_10_rounds_{self.level}"), math.nan)

    def slopes(self, threads, sizes):
        """Names and GB/s of the caches beyond the first, as far as `sizes` has them, and of memory.

        For a set of each thread's own that lies there: half of the second cache; 8 MiB, or half of the third.
        """
        at = {"memory": 1 << 30}
        if "L3" in sizes:
            at = {"L3": min(8 << 20, sizes["L3"] / 2), **at}
        if "L2" in sizes:
            at = {"L2": sizes["L2"] / 2, **at}
        rates = {name: self.at_size(threads, f"read_{self.level}", size) for name, size in at.items()}
        return [(name, rate) for name, rate in rates.items() if not math.isnan(rate)]

    def time(self, workload, threads, f16=False):
        """Microseconds, NaN if this machine's rates are not known."""
        case = Case(workload)
        if case.kind in ("infer", "train", "epoch"):
            weights = sum(i * o for i, o, *_ in case.layers)
        if case.kind == "infer":
            ends = 4 * case.batch * (case.layers[0][0] + case.layers[-1][1])
            moved = self.read(threads, (2 if f16 else 4) * weights + ends)
            times = [self.flops(threads, 2 * case.batch * weights), moved]
            return max(times + [self.widen(threads, weights)] if f16 else times)
        if case.kind in ("train", "epoch"):
            # Three products, without the gradient of the network's input; then Adam: four arrays read, three written.
            inner = weights - case.layers[0][0] * case.layers[0][1]
            trained = sum(i * o + o * (3 if norm else 1) for i, o, norm, *_ in case.layers)
            update = self.read(threads, 16 * trained, 28 * trained)
            step = self.flops(threads, case.batch * (4 * weights + 2 * inner)) + update
            return step * (SPEC["epoch_rows"] // case.batch if case.kind == "epoch" else 1)
        if case.kind == "gemm":
            m, k, n = case.m, case.k, case.n
            return max(self.flops(threads, 2 * m * k * n), self.read(threads, 4 * (m * k + k * n + m * n)))
        if case.kind == "bn_train":
            # x, y, x again, dy, dx: five passes over arrays, of which two are at hand at any time.
            array = 4 * case.rows * case.cols
            return self.copy(threads, 2 * array, 5 * array)
        if case.kind == "gemv_f16":
            return max(self.read(threads, 2 * case.k * case.n), self.widen(threads, case.k * case.n))
        words = self.philox(threads, case.len)
        return max(words, self.copy(threads, 8 * case.len, 8 * case.len)) if case.kind == "dropout" else words
