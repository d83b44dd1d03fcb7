"""Which frames far apart in time may show the same place: a small visual vocabulary made from the clip itself.

Choices
- VLAD (Jegou et al. 2010) over RootSIFT with words found by k-means on the clip's own descriptors: no weights, no
  files, and it costs less than matching one pair of frames.
- Only proposes: every candidate is matched and verified like any other pair, so a wrong one costs time, not truth.
- Every `STRIDE`-th frame asks, and every frame that its neighbours do not reach: linear in the frames.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openmore.refinement.matching.features import Keypoints

WORDS = 48
TRAINING = 6000  # descriptors for k-means
STRIDE = 6  # one in so many frames asks
ANSWERS = 2  # candidates per question
SIMILAR = 0.08  # least cosine similarity worth a look


def describe(keypoints: Sequence[Keypoints], seed: int = 0) -> np.ndarray:
    """One unit vector [S, WORDS * 128] float32 per frame; zero for a frame without key points."""
    words = _vocabulary(keypoints, seed)
    out = np.zeros((len(keypoints), *words.shape), np.float32)
    for s, points in enumerate(keypoints):
        x = points.unit()
        nearest = (x @ words.T).argmax(1) if len(x) else np.zeros(0, int)
        np.add.at(out[s], nearest, x - words[nearest])
    out /= np.maximum(np.linalg.norm(out, axis=2, keepdims=True), 1e-9)  # a repeated texture must not shout
    flat = out.reshape(len(out), -1)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)


def candidates(description: np.ndarray, asking: Sequence[int], apart: int) -> list[tuple[int, int]]:
    """Pairs (earlier, later) of frames at least `apart` frames from each other that look alike."""
    pairs: set[tuple[int, int]] = set()
    frames = np.arange(len(description))
    for s in asking:
        score = description @ description[s]
        score[np.abs(frames - s) < apart] = -1.0
        for _ in range(ANSWERS):
            best = int(score.argmax())
            if score[best] < SIMILAR:
                break
            pairs.add((min(s, best), max(s, best)))
            score[np.abs(frames - best) < apart // 2] = -1.0  # neighbours of an answer tell nothing new
    return sorted(pairs)


def _vocabulary(keypoints: Sequence[Keypoints], seed: int) -> np.ndarray:
    """Unit words [WORDS, 128]: spherical k-means on a sample of the descriptors."""
    rng = np.random.default_rng(seed)
    some = max(1, TRAINING // max(1, len(keypoints)))
    parts = []
    for points in keypoints:
        pick = rng.permutation(len(points.descriptors))[:some]
        parts.append(Keypoints(points.uv[: len(pick)], points.descriptors[pick]).unit())
    x = np.concatenate(parts)
    if len(x) <= WORDS:
        return np.zeros((1, 128), np.float32)
    words = x[rng.permutation(len(x))[:WORDS]]
    for _ in range(6):
        nearest = (x @ words.T).argmax(1)
        total = np.zeros_like(words)
        np.add.at(total, nearest, x)
        filled = np.bincount(nearest, minlength=WORDS) > 0
        words[filled] = total[filled]
        words /= np.maximum(np.linalg.norm(words, axis=1, keepdims=True), 1e-9)
    return words
