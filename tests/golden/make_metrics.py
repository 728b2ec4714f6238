#!/usr/bin/env python3
"""Writes metrics.safetensors: what scikit-learn answers to labels, scores and quantities, degenerate ones too.

    pip install numpy scikit-learn safetensors
    python tests/golden/make_metrics.py

README.md in this directory documents the tensors. The file in the repository was made with scikit-learn 1.9.1.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import sklearn
from safetensors.numpy import save_file
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

warnings.simplefilter("ignore")
HERE = Path(__file__).resolve().parent
rng = np.random.default_rng(20260101)
tensors, cases = {}, {"classes": {}, "scores": {}, "quantities": {}}


def put(name, value, dtype=np.float64):
    tensors[name] = np.atleast_1d(np.asarray(value, dtype=dtype)).copy()


def classes_case(name, classes, truth, predicted):
    """Confusion matrix, and precision, recall, F1 of each class and averaged, under three values of zero_division."""
    cases["classes"][name] = {"classes": classes}
    put(f"{name}.truth", truth, np.int64)
    put(f"{name}.predicted", predicted, np.int64)
    labels = list(range(classes))
    put(f"{name}.confusion", sk.confusion_matrix(truth, predicted, labels=labels).ravel(), np.int64)
    put(f"{name}.accuracy64", sk.accuracy_score(truth, predicted))
    for word, zero in [("zero", 0.0), ("one", 1.0), ("nan", np.nan)]:
        p, r, f, s = sk.precision_recall_fscore_support(truth, predicted, labels=labels, zero_division=zero)
        put(f"{name}.class_{word}64", np.stack([p, r, f], axis=1).ravel())
        for average in ["macro", "weighted", "micro"]:
            p, r, f, _ = sk.precision_recall_fscore_support(truth, predicted, average=average, zero_division=zero)
            put(f"{name}.{average}_{word}64", [p, r, f])
    put(f"{name}.support64", s)


def ece(confidence, hits, bins):
    """Weighted by the rows of each bin; the bins are those of calibration_curve: above i/n up to (i + 1)/n."""
    edges = np.linspace(0.0, 1.0, bins + 1)
    rows = np.bincount(np.searchsorted(edges[1:-1], confidence), minlength=bins)
    right, said = calibration_curve(hits, confidence, n_bins=bins) if len(set(hits)) == 2 else by_hand(confidence, hits, edges)
    rows = rows[rows > 0]
    return [np.sum(rows / len(hits) * np.abs(right - said)), np.max(np.abs(right - said))]


def by_hand(confidence, hits, edges):
    """calibration_curve wants both answers; the same sums where all are right or all wrong."""
    at = np.searchsorted(edges[1:-1], confidence)
    used = [b for b in range(len(edges) - 1) if np.any(at == b)]
    return (np.array([np.mean(hits[at == b]) for b in used]), np.array([np.mean(confidence[at == b]) for b in used]))


def scores_case(name, truth, scores):
    """Rankings, log loss and calibration of probabilities: [rows] of class 1, or [rows, classes]."""
    scores = np.asarray(scores, dtype=np.float32)
    wide = scores.astype(np.float64)
    truth = np.asarray(truth)
    binary = wide.ndim == 1
    classes = 2 if binary else wide.shape[1]
    labels = list(range(classes))
    cases["scores"][name] = {"classes": 1 if binary else classes}
    put(f"{name}.truth", truth, np.int64)
    put(f"{name}.scores", scores.ravel(), np.float32)
    put(f"{name}.log_loss64", sk.log_loss(truth, wide, labels=labels))
    rows = []
    for c in [1] if binary else labels:
        hot, column = (truth == c).astype(int), wide if binary else wide[:, c]
        auc = sk.roc_auc_score(hot, column) if 0 < hot.sum() < len(hot) else np.nan
        if hot.sum():
            p, r, _ = sk.precision_recall_curve(hot, column)
            trapezoids = sk.auc(r, p)
        else:
            trapezoids = np.nan
        rows.append([auc, sk.average_precision_score(hot, column), trapezoids])
    put(f"{name}.rankings64", np.array(rows).ravel())
    if binary:
        confidence, guess = np.where(wide > 0.5, wide, 1.0 - wide), (wide > 0.5).astype(int)
    else:
        confidence, guess = wide.max(axis=1), wide.argmax(axis=1)
        hot = (truth[:, None] == np.arange(classes)).astype(int)
        for average in ["macro", "weighted"]:
            whole = all(0 < hot[:, c].sum() < len(truth) for c in labels)
            auc = np.nan
            if whole and classes > 2 and np.allclose(wide.sum(axis=1), 1.0):
                auc = sk.roc_auc_score(truth, wide, multi_class="ovr", average=average)
            elif whole:
                auc = sk.roc_auc_score(hot, wide, average=average)
            put(f"{name}.{average}64", [auc, sk.average_precision_score(hot, wide, average=average)])
        # Of equal scores scikit-learn takes the higher class first, evenkeel the lower: the classes are turned round.
        turned = [sk.top_k_accuracy_score(classes - 1 - truth, wide[:, ::-1], k=k, labels=labels) if classes > 2 else
                  np.mean((guess == truth) | (k == 2)) for k in range(1, classes + 1)]
        put(f"{name}.top_k64", turned)
    for bins in [1, 10, 15]:
        put(f"{name}.ece_{bins}64", ece(confidence, (guess == truth).astype(int), bins))


def quantities_case(name, targets, answers):
    targets, answers = (np.asarray(v, dtype=np.float32) for v in (targets, answers))
    t, a = targets.astype(np.float64), answers.astype(np.float64)
    cases["quantities"][name] = {"outputs": 1 if t.ndim == 1 else t.shape[1]}
    put(f"{name}.targets", targets.ravel(), np.float32)
    put(f"{name}.answers", answers.ravel(), np.float32)
    put(f"{name}.figures64", [sk.mean_absolute_error(t, a), sk.root_mean_squared_error(t, a), sk.r2_score(t, a)])


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


for classes, rows in [(2, 40), (3, 100), (5, 333), (10, 1000)]:
    truth = rng.integers(0, classes, rows)
    predicted = np.where(rng.random(rows) < 0.7, truth, rng.integers(0, classes, rows))
    classes_case(f"c{classes}", classes, truth, predicted)
classes_case("never_predicted", 4, [0, 1, 2, 3, 3, 0], [0, 1, 2, 0, 1, 0])
classes_case("no_rows_of_it", 4, [0, 1, 1, 2, 0, 0], [0, 1, 3, 2, 3, 1])
classes_case("neither", 5, [0, 1, 1, 4, 0, 0], [0, 1, 4, 4, 1, 1])
classes_case("all_wrong", 3, [0, 1, 2, 0], [1, 2, 0, 2])
classes_case("one_class", 3, [1, 1, 1], [1, 1, 1])
classes_case("one_row", 2, [0], [1])
classes_case("rare", 3, [0] * 97 + [1] * 2 + [2], [0] * 96 + [1] + [0] + [1] + [0])

for rows in [7, 50, 1000]:
    truth = rng.integers(0, 2, rows)
    truth[:2] = [0, 1]
    p = 1.0 / (1.0 + np.exp(-(truth * 1.5 - 0.7 + rng.normal(size=rows))))
    scores_case(f"b{rows}", truth, p)
    scores_case(f"b{rows}_ties", truth, np.round(p * 4) / 4)
scores_case("b_all_tied", [0, 1, 1, 0, 1], [0.5] * 5)
scores_case("b_perfect", [0, 0, 1, 1], [0.0, 0.25, 0.75, 1.0])
scores_case("b_reversed", [1, 1, 0, 0], [0.0, 0.25, 0.75, 1.0])
scores_case("b_only_positive", [1, 1, 1], [0.5, 0.25, 1.0])
scores_case("b_only_negative", [0, 0, 0], [0.5, 0.25, 1.0])
for classes, rows in [(2, 60), (3, 100), (4, 257), (10, 500)]:
    truth = rng.integers(0, classes, rows)
    truth[:classes] = np.arange(classes)
    z = rng.normal(size=(rows, classes)) + 1.5 * (truth[:, None] == np.arange(classes))
    scores_case(f"m{classes}", truth, softmax(z))
    tied = np.round(softmax(z) * 8) / 8
    scores_case(f"m{classes}_ties", truth, tied)
z = rng.normal(size=(80, 4))
scores_case("m_missing", rng.integers(0, 3, 80), softmax(z))
scores_case("m_one_class", np.full(20, 2), softmax(z[:20]))
scores_case("m_certain", [0, 1, 2], np.eye(3))
scores_case("m_certain_mistake", [0, 1, 2], np.eye(3)[[0, 2, 1]])

for outputs, rows in [(1, 5), (1, 400), (3, 100)]:
    shape = rows if outputs == 1 else (rows, outputs)
    targets = rng.normal(size=shape) * 3.0 + 10.0
    quantities_case(f"q{outputs}_{rows}", targets, targets + rng.normal(size=shape))
quantities_case("q_far", rng.normal(size=50) + 1e6, rng.normal(size=50) + 1e6)
quantities_case("q_exact", [1.0, 2.0, 4.0], [1.0, 2.0, 4.0])
quantities_case("q_constant", [2.5] * 4, [2.5, 2.0, 3.0, 2.5])
quantities_case("q_constant_exact", [0.1] * 3, [0.1] * 3)
quantities_case("q_one_row", [2.0], [3.0])
quantities_case("q_columns", [[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]], [[1.5, 5.0], [2.0, 5.5], [2.0, 4.5]])

# Weights of rows, sample_weight of scikit-learn: whole numbers and others, zeros among them. A generator of its own.
rng = np.random.default_rng(20261123)


def weighted_case(name, classes, rows, whole):
    """All metrics of classes and of their scores. calibration_curve has no weights: each row is repeated as often."""
    truth = rng.integers(0, classes, rows)
    truth[:classes] = np.arange(classes)
    z = rng.normal(size=(rows, classes)) + 1.5 * (truth[:, None] == np.arange(classes))
    scores = np.round(softmax(z) * 16) / 16 if whole else softmax(z)
    scores = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    wide = scores.astype(np.float64)
    w = (rng.integers(0, 4, rows) if whole else rng.random(rows) * 3).astype(np.float32)
    w[:classes] = 2
    guess, labels, hot = wide.argmax(axis=1), list(range(classes)), (truth[:, None] == np.arange(classes)).astype(int)
    cases["weighted"][name] = {"classes": classes, "whole": bool(whole)}
    for key, value, dtype in [("truth", truth, np.int64), ("predicted", guess, np.int64), ("scores", scores.ravel(), np.float32), ("w", w, np.float32)]:
        put(f"{name}.{key}", value, dtype)
    put(f"{name}.confusion64", sk.confusion_matrix(truth, guess, labels=labels, sample_weight=w.astype(np.float64)).ravel())
    w = w.astype(np.float64)
    put(f"{name}.accuracy64", sk.accuracy_score(truth, guess, sample_weight=w))
    p, r, f, s = sk.precision_recall_fscore_support(truth, guess, labels=labels, zero_division=0.0, sample_weight=w)
    put(f"{name}.class64", np.stack([p, r, f, s], axis=1).ravel())
    for average in ["macro", "weighted", "micro"]:
        put(f"{name}.{average}64", sk.precision_recall_fscore_support(truth, guess, average=average, zero_division=0.0, sample_weight=w)[:3])
    put(f"{name}.log_loss64", sk.log_loss(truth, wide, labels=labels, sample_weight=w))
    rankings = []
    for c in labels:
        p, r, _ = sk.precision_recall_curve(hot[:, c], wide[:, c], sample_weight=w)
        rankings.append([sk.roc_auc_score(hot[:, c], wide[:, c], sample_weight=w),
                         sk.average_precision_score(hot[:, c], wide[:, c], sample_weight=w), sk.auc(r, p)])
    put(f"{name}.rankings64", np.array(rankings).ravel())
    for average in ["macro", "weighted"]:
        put(f"{name}.averaged_{average}64", [f(hot, wide, average=average, sample_weight=w) for f in (sk.roc_auc_score, sk.average_precision_score)])
    turned = [np.average((guess == truth) | (k == 2), weights=w) if classes == 2 else
              sk.top_k_accuracy_score(classes - 1 - truth, wide[:, ::-1], k=k, labels=labels, sample_weight=w) for k in range(1, classes + 1)]
    put(f"{name}.top_k64", turned)
    if whole:
        often = w.astype(int)
        put(f"{name}.ece64", ece(np.repeat(wide.max(axis=1), often), np.repeat((guess == truth).astype(int), often), 15))


def weighted_quantities(name, rows, outputs):
    t = (rng.normal(size=(rows, outputs)) * 3 + 10).astype(np.float32)
    a, w = (t + rng.normal(size=t.shape)).astype(np.float32), (rng.random(rows) * 3).astype(np.float32)
    w[1] = 0
    cases["weighted_quantities"][name] = {"outputs": outputs}
    for key, value in [("targets", t.ravel()), ("answers", a.ravel()), ("w", w)]:
        put(f"{name}.{key}", value, np.float32)
    t, a, w = (v.astype(np.float64) for v in (t, a, w))
    put(f"{name}.figures64", [f(t, a, sample_weight=w) for f in (sk.mean_absolute_error, sk.root_mean_squared_error, sk.r2_score)])


cases["weighted"], cases["weighted_quantities"] = {}, {}
for classes, rows in [(2, 50), (3, 100), (6, 400)]:
    weighted_case(f"w{classes}", classes, rows, False)
    weighted_case(f"w{classes}_whole", classes, rows, True)
for outputs, rows in [(1, 60), (3, 100)]:
    weighted_quantities(f"wq{outputs}", rows, outputs)

about = {"cases": cases, "sklearn": sklearn.__version__, "numpy": np.__version__}
path = HERE / "metrics.safetensors"
save_file(tensors, path, metadata={"golden": json.dumps(about, sort_keys=True)})
print(path.name, path.stat().st_size, "bytes,", len(tensors), "tensors")
