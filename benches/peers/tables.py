"""How results are written: names, times, rates, and the lines of the tables."""

import math


def full_name(row):
    """The peer, and for a Rust program that was built for this CPU alone its target."""
    return row["peer"] + ("@native" if row.get("target") == "native" else "")


def us(v):
    """A time in microseconds, in the unit that suits it."""
    for below, unit, scale in ((1, "ns", 1e3), (1e4, "µs", 1), (1e7, "ms", 1e-3)):
        if v < below:
            return f"{figures(v * scale)} {unit}"
    return f"{v / 1e6:.2f} s"


def figures(v):
    """Three figures, and no exponent."""
    return f"{v:.{max(0, 2 - math.floor(math.log10(v)))}f}" if v > 0 else "0"


def rate(row):
    v, unit = row["rate_best"], row["rate_unit"]
    if unit == "samples/s":
        scaled = (v / 1e6, "M ") if v >= 1e6 else (v / 1e3, "k ") if v >= 1e4 else (v, "")
        return f"{figures(scaled[0])} {scaled[1]}{unit}"
    return f"{figures(v)} {unit}"


def share(limit, row):
    """The physical limit of a result and how much of it is reached, as text."""
    best = limit.time(row["workload"], row["threads"], "(f16 weights)" in row["peer"]) if limit else math.nan
    return ("-", "-") if math.isnan(best) else (us(best), f"{100 * best / row['value_min']:.0f} %")


QUICK = "{:24} {:>1} {:<28} {:>9} {:>9} {:>9} {:>5}  {:<19} {}"


def quick_head():
    return QUICK.format("workload", "T", "peer", "min", "median", "limit", "share", "rate", "check")


def quick_line(row, limit):
    checks = [f"{k} {row[k]:.3g}" for k in ("max_err", "loss_first", "loss_21", "loss_last") if k in row]
    best, part = share(limit, row)
    return QUICK.format(
        row["workload"],
        row["threads"],
        full_name(row),
        us(row["value_min"]),
        us(row["value_median"]),
        best,
        part,
        rate(row),
        ", ".join(checks),
    )
