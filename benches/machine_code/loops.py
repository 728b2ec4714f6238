"""The inner loops of compiled kernels, read from the assembly of the library beside this file.

Assembly and not an object file: it has names for what is jumped to, `llvm-mca` reads it as it is, and no tool of the
target is needed, neither linker nor disassembler. For `scripts/machine-code` and `scripts/arm-throughput`.
"""

import os
import re
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
X86, ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"

FMA = r"vfn?m(add|sub)\d+[sp]s|fml[as]$"
BRANCH = r"(j\w+|b|b\.\w+|cbn?z|tbn?z)$"
CALL = r"(call\w*|blr?)$"
# What the compiler keeps in vector registers, and where it puts what does not fit.
VECTOR = re.compile(r"%[xyz]mm\d|\b[qvds]\d+\b")
STACK = re.compile(r"\(%rsp|\[sp\b|\[x29\b")


def assembly(target, features=()):
    """Builds the library for a target; the text of its assembly. As a release build, with names that can be read."""
    directory = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target" / "machine-code")
    directory.mkdir(parents=True, exist_ok=True)
    out = directory / f"{'-'.join([target, *features])}.s"
    cargo = os.environ.get("CARGO", "cargo").split()
    command = ["rustc", "--quiet", "--locked", "--release", "--lib", "--target", target]
    if features:
        command += ["--features", ",".join(features)]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(directory), "RUSTFLAGS": "-C symbol-mangling-version=v0"}
    environment.pop("CARGO_ENCODED_RUSTFLAGS", None)
    subprocess.run([*cargo, *command, "--", "--emit", f"asm={out}"], cwd=HERE, env=environment, check=True)
    return out.read_text()


class Loop:
    """A loop without a loop in it: its instructions as (mnemonic, operands)."""

    def __init__(self, symbol, body):
        self.symbol, self.body = symbol, body

    def matching(self, pattern):
        return [line for line in self.body if re.match(pattern, line[0])]

    def count(self, pattern):
        """Instructions whose mnemonic matches."""
        return len(self.matching(pattern))

    def sums(self, pattern=FMA):
        """Registers that matching instructions write: for multiply-adds, how many chains run side by side."""
        # The destination is the first operand of Arm, the last in AT&T's order.
        at = -1 if "%" in "".join(rest for _, rest in self.body) else 0
        return len({rest.split(",")[at].strip().split(".")[0] for _, rest in self.matching(pattern)})

    def spills(self):
        """Vector registers that go to the stack or come from it, also as the operand of another instruction."""
        return sum(bool(STACK.search(rest) and VECTOR.search(rest)) for _, rest in self.body)

    def calls(self):
        return self.count(CALL)


def functions(text):
    """Every function's name with its lines: instructions as (mnemonic, operands), labels as (None, label)."""
    symbol, lines = None, []
    for line in text.splitlines():
        line = line.split("//")[0].split("# ")[0].strip()
        if match := re.match(r"\.type\s+([^,\s]+),\s*[@%]function", line):
            symbol, lines = match[1], []
        elif line.startswith(".size") and symbol is not None:
            yield symbol, lines
            symbol = None
        elif symbol is None or not line:
            continue
        elif match := re.match(r"([.\w$]+):", line):
            lines.append((None, match[1]))
        elif not line.startswith((".", "#")):
            name, _, rest = line.partition("\t")
            lines.append((name, rest.strip()))


def calls(lines):
    """The functions that a function calls by name; a jump out of it is a call too."""
    for name, rest in lines:
        if name and re.match(f"{CALL[:-1]}|{BRANCH}", name) and not rest.startswith((".L", "*")):
            yield rest.lstrip("*").split("@")[0]


def inner_loops(symbol, lines):
    """The loops of a function that have no other inside, the stretch from a label to the last jump back to it."""
    place, found = {}, {}
    for at, (name, rest) in enumerate(lines):
        if name is None:
            place[rest] = at
        elif re.match(BRANCH, name) and (label := rest.split(",")[-1].strip()) in place:
            found[place[label]] = at
    for start, end in found.items():
        if not any(start < other and last <= end for other, last in found.items()):
            yield Loop(symbol, [line for line in lines[start : end + 1] if line[0] is not None])


def kernel(symbol):
    """The kernel that a function of the library is, such as `train loss terms per_output Huber`; None for other functions.

    Its path in the mangled symbol, without the type `Call` that `kernel!` makes of its arguments, and the first type that it
    is made for.
    """
    if not (found := re.search(r"_8evenkeel.*?(?=7kernels|5train)", symbol)):
        return None
    words, rest = [], symbol[found.end() :]
    while match := re.match(r"(\d+)_?", rest):
        words.append(rest[match.end() :][: int(match[1])])
        rest = rest[match.end() + int(match[1]) :]
    words = [word for word in words if word != "Call"]
    for match in re.finditer(r"(?<!\d)(\d+)([A-Z]\w*)", rest):
        kind = match[2][: int(match[1])]
        if len(kind) == int(match[1]) > 2 and kind not in ("Call", "Serial", "Option"):
            return " ".join([*words, kind])
    return " ".join(words)


def tiles(loops):
    """The loops with the most sums side by side, the leanest first, without those that surround one."""
    most = max((loop.sums() for loop in loops), default=0)
    cost = lambda loop: len(loop.body) / loop.count(FMA)
    found = sorted((loop for loop in loops if most > 0 and loop.sums() == most), key=cost)
    return [loop for loop in found if cost(loop) <= 2 * cost(found[0])]
