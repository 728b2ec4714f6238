"""The bars: how evenkeel must compare in one run, and with whom. A ratio is our time divided by theirs.

A bar is judged for every case and thread count by itself, by the smallest time of at least three interleaved rounds.
"""

import math

from programs import OURS

HALF = OURS + "(f16 weights)"


def family(row):
    return row["peer"].partition("/")[0].partition("-")[0].partition("(")[0]


def same_work(row):
    """Not another generator where the words of Philox are the work, nor what a peer only measures for scale."""
    drawn = row["workload"].startswith(("philox", "uniform"))
    return "for scale" not in row["peer"] and not (drawn and "not philox" in row["peer"])


def is_ours(row):
    return row["peer"].partition("(")[0].partition("@")[0] == OURS


PEERS = {
    "all peers": lambda row: True,
    "frameworks": lambda row: family(row) in {"pytorch", "jax", "burn", "candle", "numpy"},
    "Rust engines": lambda row: family(row) in {"burn", "candle", "tract", "rten"},
    "MKL's Philox": lambda row: row["peer"] == "mkl-vsl-philox4x32x10",
    # Only a build for this CPU alone has the loop in vectors.
    "MKL's Philox, native loop": lambda row: row["peer"] == "mkl-vsl-philox+loop" and row.get("target") == "native",
}

GEMM = [
    "gemm/m16k16n16",
    "gemm/m32k32n32",
    "gemm/m64k64n64",
    "gemm/m128k128n128",
    "gemm/m256k256n256",
    "gemm/m512k512n512",
    "gemm/m1024k1024n1024",
    "gemm/m8k784n512",
    "gemm/m64k784n512",
    "gemm/m8k4096n4096",
]
BATCHES = [32, 256, 1024]
TRAIN = [f"train/{model}/b{batch}" for model in ("mnist", "mlp512", "mlp1024") for batch in (64, 256)]

# (cases, threads, bar, compared with, which of our results)
BARS = [
    (GEMM, [1], 1.00, "all peers", OURS),
    (["infer/ae/b1", "infer/seed/b1"], [1], 0.80, "all peers", OURS),
    (["infer/mnist/b1"], [1], 0.55, "all peers", OURS),
    (["infer/mlp512/b1", "infer/big/b1"], [1], 1.00, "all peers", OURS),
    (["infer/mlp512/b1"], [1], 0.40, "all peers", HALF),
    (["infer/big/b1"], [1], 0.55, "all peers", HALF),
    ([f"infer/{m}/b{b}" for m in ("ae", "seed", "mnist") for b in BATCHES], [1, 2], 0.90, "all peers", OURS),
    ([f"infer/{m}/b{b}" for m in ("mlp512", "big") for b in BATCHES], [1, 2], 0.95, "all peers", OURS),
    (["train/mnist/b64"], [1, 2], 0.45, "all peers", OURS),
    (["train/mnist/b256"], [1, 2], 0.55, "all peers", OURS),
    (["train/mlp512/b64"], [1, 2], 0.75, "all peers", OURS),
    (["train/mlp512/b256"], [1, 2], 0.80, "all peers", OURS),
    (["train/mlp1024/b64", "train/mlp1024/b256"], [1, 2], 0.60, "all peers", OURS),
    (["epoch/mnist/b64"], [2], 0.50, "all peers", OURS),
    (["epoch/mlp512/b256"], [2], 0.75, "all peers", OURS),
    (["bn_train/256x512"], [1], 0.50, "all peers", OURS),
    (["bn_train/1024x1024"], [1], 0.60, "all peers", OURS),
    (["dropout/1048576"], [1], 0.15, "frameworks", OURS),
    (["dropout/1048576"], [1], 0.70, "MKL's Philox, native loop", OURS),
    (["philox_u32/1048576"], [1], 1.05, "MKL's Philox", OURS),
    (["infer/ae/b1"], [1], 0.45, "Rust engines", OURS),
]
# Judged by the geometric mean over all of its cases and thread counts: some of them have hardly room for such a factor.
MEAN = (TRAIN, [1, 2], 0.35, "Rust engines", OURS)
# Ours with two threads against ours with one.
THREADS = [("infer/ae/b256", 0.58), ("infer/mlp512/b256", 0.58), ("train/mlp512/b256", 0.60)]


class Results:
    """The results of a run, ours and theirs."""

    def __init__(self, rows):
        self.rows = {}
        for row in rows:
            self.rows.setdefault((row["workload"], row["threads"]), []).append(row)

    def ours(self, case, threads, peer=OURS):
        return next((r for r in self.rows.get((case, threads), []) if r["peer"] == peer), None)

    def best(self, case, threads, against="all peers"):
        rows = [r for r in self.rows.get((case, threads), []) if not is_ours(r) and same_work(r)]
        return min(filter(PEERS[against], rows), key=lambda r: r["value_min"], default=None)


def verdict(ratio, bar):
    return "-" if math.isnan(ratio) else "ok" if ratio <= bar else "missed"


def ratio(ours, theirs):
    return ours["value_min"] / theirs["value_min"] if ours and theirs else math.nan


def mean(results):
    """The geometric mean of MEAN's ratios and how many there are."""
    cases, threads, _, against, peer = MEAN
    ratios = [ratio(results.ours(c, t, peer), results.best(c, t, against)) for c in cases for t in threads]
    known = [r for r in ratios if not math.isnan(r)]
    return (math.exp(sum(map(math.log, known)) / len(known)) if known else math.nan), len(known), len(ratios)
