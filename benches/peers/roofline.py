"""Draws a run as a roofline: how many operations there are for each byte, and how near each workload comes to the roof.

python3 roofline.py results.jsonl                         # what run_all.py wrote, into docs/roofline.svg
python3 roofline.py ../record/2026-11-24.csv --out r.svg  # what report.py --record kept (the .md names CPU and caches)

Operations are those that limits.py counts. Bytes are those that have to move at least once, wherever they come from:

infer   weights (two bytes each if they are f16), input, output
train   28 for each parameter (Adam reads four arrays, writes three), input and every layer's output, written and read
gemm    A, B and C

Work without products has no place on these axes and is drawn below as elements per second, each beside its own limit.
The limits are those of the same run. A point above a slope had its bytes from a nearer memory.
"""

import argparse
import csv
import math
import os
import re
import sys
from html import escape

import bars
import tables
from bench_common import HERE, SPEC, Case
from limits import LEVELS, Limits, caches
from report import load, order

OUT = os.path.join(HERE, "..", "..", "docs", "roofline.svg")
WIDTH, LEFT, RIGHT, TOP, HEIGHT, ROW = 900, 62, 876, 112, 600, 34
LETTER = 6.8  # pixels of a small letter in the widest of the fonts
COLOURS = {"gemm": "#1f6fb4", "infer": "#1b8a5a", "half": "#8250df", "train": "#d95f02"}
KINDS = {"gemm": "product", "infer": "inference", "half": "f16 weights", "train": "training step"}
STYLE = """
text { font-family: Inter, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif; fill: #57606a; font-size: 12px }
.title { font-size: 18px; font-weight: 600; fill: #1f2328 }
.head { font-size: 14px; font-weight: 600; fill: #1f2328 }
.key { fill: #1f2328 }
.name { font-size: 11px; stroke: #fff; stroke-width: 3px; stroke-linejoin: round; paint-order: stroke }
.grid { stroke: #e6e9ed; stroke-width: 1 }
.roof { stroke: #1f2328; stroke-width: 1.6; fill: none }
.join { stroke-width: 1; stroke-opacity: .6 }
.lead { stroke: #8c959f; stroke-width: .7 }
.dot { stroke: #fff; stroke-width: 1 }
.open { fill: #fff; stroke-width: 1.5 }
.limit { fill: #eef1f4; stroke: #8c959f; stroke-width: 1 }
"""


def work(case, f16=False):
    """Operations of the products and bytes that have to move, for one call; None if there are no products."""
    size = 2 if f16 or case.kind == "gemv_f16" else 4
    if case.kind == "gemm":
        return 2 * case.m * case.k * case.n, 4 * (case.m * case.k + case.k * case.n + case.m * case.n)
    if case.kind == "gemv_f16":
        return 2 * case.k * case.n, size * case.k * case.n + 4 * (case.k + case.n)
    if case.kind not in ("infer", "train", "epoch"):
        return None
    weights = sum(i * o for i, o, *_ in case.layers)
    first, last = case.layers[0], case.layers[-1]
    if case.kind == "infer":
        return 2 * case.batch * weights, size * weights + 4 * case.batch * (first[0] + last[1])
    # Three products for each layer; nobody asks for the gradient of the network's input.
    flops = case.batch * (6 * weights - 2 * first[0] * first[1])
    trained = sum(i * o + o * (3 if norm else 1) for i, o, norm, *_ in case.layers)
    moved = 28 * trained + 8 * case.batch * (first[0] + sum(o for _, o, *_ in case.layers))
    steps = SPEC["epoch_rows"] // case.batch if case.kind == "epoch" else 1
    return steps * flops, steps * moved


def label(case, f16):
    if case.kind == "gemm":
        m, k, n = case.m, case.k, case.n
        return f"{m}³" if m == k == n else f"{m}×{k}×{n}"
    if case.kind == "gemv_f16":
        return f"1×{case.k}×{case.n} f16"
    return f"{'epoch ' * (case.kind == 'epoch')}{case.model} b{case.batch}{' f16' * f16}"


def read(path):
    """Results, rates of the machine, date, CPU and its caches."""
    if not path.endswith(".csv"):
        rows, rates, meta = load(path)
        return rows, rates, meta["date"][:10], meta["cpu"], caches(meta["caches"])
    rows, rates = [], []
    with open(path, newline="") as f:
        for line in csv.DictReader(f):
            row = {key: value for key, value in line.items() if value}
            row.update(
                {key: float(row[key]) for key in ("value_min", "rate_best") if key in row}, threads=int(row["threads"])
            )
            (rates if row["workload"].startswith("limit/") else rows).append(row)
    cpu, sizes, about = "", {}, path.removesuffix(".csv") + ".md"
    if os.path.exists(about):
        with open(about) as f:
            found = re.search(r"^(.+?), \d+ cores, (.*)$", f.read(), re.M)
        cpu, sizes = (found[1], caches(found[2])) if found else (cpu, sizes)
    return rows, rates, os.path.basename(path).removesuffix(".csv"), cpu, sizes


def ours(results, case, threads):
    """Our plain result and, for one sample, that with f16 weights: with more of them the weights are not what moves."""
    plain = results.ours(case, threads) or results.ours(case, threads, bars.OURS + "(f32 x, y and sums)")
    half = results.ours(case, threads, bars.HALF) if case.endswith("/b1") else None
    return [(row, row is half) for row in (plain, half) if row]


def placed(results, threads):
    """What stands on the axes of the roofline."""
    out = []
    for wid, t in sorted(results.rows, key=lambda key: order(key[0])):
        case = Case(wid)
        for row, f16 in ours(results, wid, t) if t == threads and work(case) else []:
            flops, moved = work(case, f16)
            # Peers have the weights in f32: they are drawn beside our result for those.
            peer = None if f16 else results.best(wid, t)
            both = [(row["peer"], row)] + ([(tables.full_name(peer), peer)] if peer else [])
            point = {
                "x": flops / moved,
                "y": 1e-3 * flops / row["value_min"],
                "peer": 1e-3 * flops / peer["value_min"] if peer else None,
                "kind": "half" if f16 else {"gemv_f16": "half", "epoch": "train"}.get(case.kind, case.kind),
                "label": label(case, f16),
                "title": f"{wid}: " + ", ".join(f"{tables.us(r['value_min'])} {name}" for name, r in both),
            }
            out.append(point)
    return out


class Axis:
    """A logarithmic axis with its ends, in pixels."""

    def __init__(self, low, high, begin, end):
        self.low, self.high, self.begin, self.end = low, high, begin, end

    def __call__(self, v):
        return self.begin + (self.end - self.begin) * math.log(v / self.low) / math.log(self.high / self.low)

    def ticks(self):
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        steps = [m * 10.0**d for d in decades for m in (1, 2, 5)]
        return [v for v in steps if self.low <= v <= self.high]


def overlap(a, b):
    """How much of two boxes (left, top, right, bottom) overlaps."""
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def crosses(a, b):
    """Whether two stretches, each ((x, y), (x, y)), cross."""

    def side(p, q, r):
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    return side(*a, b[0]) * side(*a, b[1]) < 0 and side(*b, a[0]) * side(*b, a[1]) < 0


def diagonals(box):
    return ((box[0], box[1]), (box[2], box[3])), ((box[0], box[3]), (box[2], box[1]))


def nearest(x, y, box):
    return min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3])


def place(points, lines, taken, area):
    """A box for each label, at the nearest place that covers no mark, no other label, and as few lines as can be.

    points: (x, y, text); lines: stretches that a label had better not hide; taken: boxes that it must not.
    """
    taken = taken + [(x - 5, y - 5, x + 5, y + 5) for x, y, _ in points]
    boxes, leads = {}, []

    def cost(box, lead):
        across = diagonals(box)
        price = (
            math.dist(*lead)
            + 0.3 * abs((box[0] + box[2]) / 2 - lead[0][0])
            + 8 * sum(overlap(box, other) for other in taken)
        )
        price += 25 * sum(any(crosses(d, line) for d in across) for line in lines)
        price += 60 * sum(any(crosses(d, line) for d in (*across, lead)) for line in leads)
        # No label beside another point than its own.
        others = [point[:2] for point in points if point[:2] != lead[0]]
        price += 25 * sum(math.dist(p, nearest(*p, box)) < min(12, 2 + math.dist(*lead)) for p in others)
        return price + 60 * sum(crosses(lead, d) for b in boxes.values() for d in diagonals(b))

    for index in sorted(range(len(points)), key=lambda i: (-points[i][0], points[i][1])):
        (x, y, what), best = points[index], (math.inf,)
        wide = LETTER * len(what) + 2
        columns = (x + 8, x - 8 - wide, x - wide / 2, x + 22, x - 22 - wide, x + 44, x - 44 - wide)
        columns = [left for left in columns if area[0] <= left <= area[2] - wide]
        for step in range(90):
            for top in (y - 7 - 4 * step, y - 7 + 4 * step):
                for left in columns if area[1] <= top <= area[3] - 13 else []:
                    box = (left, top, left + wide, top + 13)
                    lead = ((x, y), nearest(x, y, box))
                    best = min(best, (cost(box, lead), box, lead))
            if best[0] < 4 * step - 20:
                break
        _, boxes[index], lead = best
        taken.append(boxes[index])
        if math.dist(*lead) > 12:
            leads.append(lead)
    return boxes, leads


def text(x, y, what, style="", more=""):
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}"{more}>{escape(what)}</text>'


def stretch(style, x1, y1, x2, y2, more=""):
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"{more}/>'


def roofs(limit, threads, sizes):
    """Peaks in GFLOP/s with the look of their line, dashed below the highest, and slopes in GB/s."""
    peaks = [(name, limit.rates.get((threads, f"fma_f32_{level}"), math.nan)) for level, name in LEVELS.items()]
    peaks = [peak for peak in peaks if not math.isnan(peak[1])]
    looks = [""] + [' stroke-dasharray="6 4"'] * len(peaks)
    return [(*peak, look) for peak, look in zip(peaks, looks)], limit.slopes(threads, sizes)


def beside(points, x, y):
    """Points with their places in pixels: what would cover another one, or its line, is moved to the right."""
    out = []
    for p in sorted(points, key=lambda p: p["x"]):
        px, ends = x(p["x"]), [y(p["y"]), y(p["peer"] or p["y"])]
        top, bottom = min(ends) - 9, max(ends) + 9
        while any(abs(px - qx) < 7 and top < b and a < bottom for _, qx, a, b in out):
            px += 1
        out.append((p, px, top + 9, bottom - 9))
    return [(p, px, y(p["y"])) for p, px, *_ in out]


def upper(points, peaks, slopes):
    """The roofline itself."""
    ys = [p[key] for p in points for key in ("y", "peer") if p[key]]
    peak = max(p[1] for p in peaks)
    x = Axis(min(p["x"] for p in points) / 1.6, max(p["x"] for p in points) * 1.6, LEFT, RIGHT)
    y = Axis(min(ys) / 1.5, 1.9 * max(peak, *ys), TOP + HEIGHT, TOP)
    spots = beside(points, x, y)
    out, lines, marks = [], [], []
    taken = [(px - 5, y(p["peer"]) - 5, px + 5, y(p["peer"]) + 5) for p, px, _ in spots if p["peer"]]
    for v in x.ticks():
        out.append(stretch("grid", x(v), TOP, x(v), TOP + HEIGHT))
        out.append(text(x(v), TOP + HEIGHT + 18, f"{v:g}", more=' text-anchor="middle"'))
    for v in y.ticks():
        out.append(stretch("grid", LEFT, y(v), RIGHT, y(v)))
        out.append(text(LEFT - 8, y(v) + 4, f"{v:g}", more=' text-anchor="end"'))
    out.append(
        text(
            (LEFT + RIGHT) / 2,
            TOP + HEIGHT + 38,
            "FLOP per byte that has to move; points that would cover each other are moved to the right",
            more=' text-anchor="middle"',
        )
    )
    out.append(text(LEFT - 8, TOP - 8, "GFLOP/s", more=' text-anchor="end"'))
    for name, rate, look in peaks:
        begin = max(x.low, min(rate / max(s[1] for s in slopes), x.high)) if slopes else x.low
        lines.append(((x(begin), y(rate)), (x.end, y(rate))))
        what = f"{name} multiply-add: {tables.figures(rate)} GFLOP/s"
        out.append(stretch("roof", *lines[-1][0], *lines[-1][1], look))
        left = x(begin) + 12
        out.append(text(left, y(rate) - 5, what, "name key"))
        taken.append((left, y(rate) - 17, left + LETTER * len(what), y(rate) - 1))
    for name, rate in slopes:
        begin, end = max(x.low, y.low / rate), min(x.high, peak / rate)
        if end <= begin:
            continue
        lines.append(((x(begin), y(begin * rate)), (x(end), y(end * rate))))
        (x1, y1), (x2, y2) = lines[-1]
        angle, what = math.degrees(math.atan2(y2 - y1, x2 - x1)), f"{name}: {tables.figures(rate)} GB/s"
        out.append(stretch("roof", x1, y1, x2, y2))
        # Above the line, as low as no mark is in the way; small boxes follow it.
        dots = taken + [(px - 5, py - 5, px + 5, py + 5) for _, px, py in spots]
        length, (cos, sin) = LETTER * len(what), ((x2 - x1) / math.dist(*lines[-1]), (y2 - y1) / math.dist(*lines[-1]))
        begins = range(10, max(11, int(math.dist(*lines[-1]) - length)), 10)
        tries = [
            [(x1 + a * cos + 9 * sin, y1 + a * sin - 9 * cos) for a in range(b, b + int(length), 8)] for b in begins
        ]
        tries = [[(a - 6, b - 6, a + 6, b + 6) for a, b in along] for along in tries]
        hidden = [sum(overlap(box, dot) for box in along for dot in dots) for along in tries]
        first = hidden.index(min(hidden))
        turn = f' transform="translate({x1:.1f} {y1:.1f}) rotate({angle:.1f})"'
        out.append(text(begins[first], -5, what, "name key", turn))
        taken += tries[first]
    for p, px, py in spots:
        colour = COLOURS[p["kind"]]
        if p["peer"]:
            lines.append(((px, py), (px, y(p["peer"]))))
            out.append(stretch("join", px, py, px, y(p["peer"]), f' stroke="{colour}"'))
            marks.append(f'<circle class="open" cx="{px:.1f}" cy="{y(p["peer"]):.1f}" r="3.6" stroke="{colour}"/>')
        title = f"<title>{escape(p['title'])}</title>"
        marks.append(f'<circle class="dot" cx="{px:.1f}" cy="{py:.1f}" r="4.6" fill="{colour}">{title}</circle>')
    labels = [(px, py, p["label"]) for p, px, py in spots]
    boxes, leads = place(labels, lines, taken, (LEFT, TOP, RIGHT, TOP + HEIGHT))
    out += [stretch("lead", *a, *b) for a, b in leads] + marks
    for index, box in boxes.items():
        out.append(
            text(
                box[0] + 1,
                box[3] - 3,
                spots[index][0]["label"],
                "name",
                f' style="fill: {COLOURS[spots[index][0]["kind"]]}"',
            )
        )
    return out


def legend(points):
    out, x = [], LEFT
    entries = [
        (f' fill="{COLOURS[k]}"', "dot", what) for k, what in KINDS.items() if any(p["kind"] == k for p in points)
    ]
    for look, style, what in entries + [(' stroke="#57606a"', "open", "best other engine, at the same bytes")]:
        out.append(f'<circle class="{style}" cx="{x + 5}" cy="83" r="4.4"{look}/>' + text(x + 14, 87, what, "key"))
        x += 34 + 6.6 * len(what)
    return out


def elements(results, limit, threads, top):
    """Work without products: a bar for each, within that of its limit. Nothing, if there is none."""
    rows = []
    for wid, t in sorted(results.rows, key=lambda key: order(key[0])):
        row = results.ours(wid, t) if t == threads else None
        if row and work(Case(wid)) is None:
            peer, size = results.best(wid, t), Case(wid).work()[0]
            times = [limit.time(wid, t), row["value_min"], peer["value_min"] if peer else math.nan]
            rows.append((wid, peer, [1e6 * size / time for time in times]))
    begin, end = LEFT + 118, RIGHT - 230
    most = max((v for _, _, rates in rows for v in rates if not math.isnan(v)), default=0)
    out = [text(LEFT, top, "Work without products", "head")]
    out.append(text(LEFT + 200, top, "Gelem/s; filled: evenkeel, grey: limit, ring: best other engine"))
    for index, (wid, peer, (bound, rate, theirs)) in enumerate(rows):
        y = top + 18 + ROW * index
        out.append(text(begin - 10, y + 14, wid.partition("/")[0], "key", ' text-anchor="end"'))
        out.append(text(begin - 10, y + 27, wid.partition("/")[2], more=' text-anchor="end"'))
        wide = {"bound": bound, "rate": rate, "theirs": theirs}
        wide = {key: (end - begin) * v / most for key, v in wide.items() if not math.isnan(v)}
        if "bound" in wide:
            out.append(f'<rect class="limit" x="{begin}" y="{y + 5}" width="{wide["bound"]:.1f}" height="20"/>')
        out.append(f'<rect x="{begin}" y="{y + 9}" width="{wide["rate"]:.1f}" height="12" fill="#1f6fb4"/>')
        if "theirs" in wide:
            out.append(f'<circle class="open" cx="{begin + wide["theirs"]:.1f}" cy="{y + 15}" r="4" stroke="#1f2328"/>')
        of = f" of {tables.figures(bound)}" if "bound" in wide else ""
        out.append(text(end + 12, y + 12, tables.figures(rate) + of, "key"))
        if peer:
            out.append(text(end + 12, y + 26, f"{tables.figures(theirs)} {tables.full_name(peer)}"))
    return (out, top + 32 + ROW * len(rows)) if rows else ([], top - 22)


def draw(rows, rates, date, cpu, sizes, threads):
    results, limit = bars.Results(rows), Limits(rates)
    points, (peaks, slopes) = placed(results, threads), roofs(limit, threads, sizes)
    if not {"L2", "L3"} <= set(sizes):
        print("the run does not say how large its caches are: no slope for those", file=sys.stderr)
    if not points or not peaks:
        raise SystemExit(f"with {threads} threads the run has no product of evenkeel's, or not the machine's limits")
    below, bottom = elements(results, limit, threads, TOP + HEIGHT + 76)
    count = "one thread" if threads == 1 else f"{threads} threads"
    size = f'width="{WIDTH}" height="{bottom}"'
    about = ", ".join(filter(None, [date, cpu, count, "limits as measured in the same run"]))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {WIDTH} {bottom}" role="img">',
            f"<title>Roofline of evenkeel</title>\n<desc>{escape(about)}</desc>\n<style>{STYLE}</style>",
            '<rect width="100%" height="100%" fill="#fff"/>',
            text(LEFT, 36, "evenkeel under its roofs", "title"),
            text(LEFT, 58, about),
            *legend(points),
            *upper(points, peaks, slopes),
            *below,
            "</svg>\n",
        ]
    )


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("results", help="results.jsonl of run_all.py, or a CSV of benches/record")
    ap.add_argument("--threads", type=int, default=1)
    ap.add_argument("--out", default=OUT)
    a = ap.parse_args()
    image = draw(*read(a.results), a.threads)
    with open(a.out, "w") as f:
        f.write(image)
    print(os.path.relpath(a.out))


if __name__ == "__main__":
    main()
