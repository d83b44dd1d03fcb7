"""Procedural patterns: tileable pictures whose statistics are those of real surfaces.

Choices
- Every pattern is periodic, so that it covers any surface without seams.
- Dead leaves (overlapping discs and rectangles of power-law sizes) and spectral noise carry most of the variety: they
  have edges at all scales, as photographs have. Checks, bricks, planks, stripes, spots and facades add structure.
- numpy with one `Generator` per pattern: the same number gives the same picture on every machine.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Random = np.random.Generator
Picture = np.ndarray  # [n, n, 3] float32, about 0..1, periodic in both directions
Scalar = np.ndarray  # [n, n] float32


def spectral_noise(rng: Random, n: int, slope: float, lowest: float = 1.0) -> Scalar:
    """Periodic noise with amplitude ~ frequency ** -slope above `lowest` cycles per tile; zero mean, unit deviation."""
    f = np.fft.fftfreq(n) * n
    radius = np.hypot(f[:, None], f[None, : n // 2 + 1])
    amplitude = np.where(radius < lowest, 0.0, np.maximum(radius, 1.0) ** -slope)
    spectrum = np.fft.rfft2(rng.standard_normal((n, n))) * amplitude
    field = np.fft.irfft2(spectrum, s=(n, n))
    return ((field - field.mean()) / field.std()).astype(np.float32)


def palette(rng: Random, count: int) -> np.ndarray:
    """[count, 3] colours: one dominant hue, most often earth or sky, few vivid, from nearly black to white."""
    dominant = rng.choice([rng.normal(0.08, 0.04), rng.normal(0.6, 0.06), rng.random()], p=[0.55, 0.2, 0.25])
    hue = dominant + rng.normal(0, 0.05 if rng.random() < 0.75 else 0.4, count)
    saturation = np.clip(rng.beta(1.2, 2.2) + rng.normal(0, 0.15, count), 0, 0.95)
    value = np.clip(rng.beta(0.9, 0.8, count), 0.06, 1.0)
    phase = (hue[:, None] + np.array([0.0, 2 / 3, 1 / 3])) % 1.0
    wheel = np.clip(np.abs(phase * 6 - 3) - 1, 0, 1)
    return (value[:, None] * (1 - saturation[:, None] * (1 - wheel))).astype(np.float32)


def _mix(weight: Scalar, colours: np.ndarray) -> Picture:
    """Blend two colours, or a ramp of several, by a weight in 0..1."""
    position = np.clip(weight, 0, 1) * (len(colours) - 1)
    low = np.minimum(position.astype(np.int64), len(colours) - 2)
    return colours[low] + (colours[low + 1] - colours[low]) * (position - low)[..., None]


def _grid(n: int) -> tuple[np.ndarray, np.ndarray]:
    axis = (np.arange(n, dtype=np.float32) + 0.5) / n
    return axis[:, None], axis[None, :]


def _soft(x: np.ndarray, n: int) -> np.ndarray:
    """Step at 0 that is about one texel wide."""
    return np.clip(x * n + 0.5, 0, 1)


def noise(rng: Random, n: int) -> Picture:
    field = spectral_noise(rng, n, rng.uniform(0.7, 1.6), rng.choice([1, 2, 4]))
    return _mix(0.5 + 0.28 * field, palette(rng, int(rng.integers(2, 5))))


def marble(rng: Random, n: int) -> Picture:
    y, x = _grid(n)
    turns, warp = rng.integers(1, 5, 2), rng.uniform(0.1, 0.5)
    wave = np.sin(2 * np.pi * (turns[0] * x + turns[1] * y) + 2 * np.pi * warp * spectral_noise(rng, n, 1.6))
    return _mix(0.5 + 0.45 * wave, palette(rng, 3))


def patches(rng: Random, n: int) -> Picture:
    """Thresholded noise at several scales: camouflage, stains, gravel, lawn."""
    picture = np.broadcast_to(palette(rng, 1)[0], (n, n, 3)).copy()
    for colour in palette(rng, int(rng.integers(2, 6))):
        field = spectral_noise(rng, n, rng.uniform(1.0, 2.2), 2.0 ** rng.uniform(0, 4.5))
        picture += _soft((field - rng.uniform(-0.2, 1.2)) * 0.05, n)[..., None] * (colour - picture)
    return picture


def dead_leaves(rng: Random, n: int) -> Picture:
    """Overlapping discs or rectangles, sizes ~ r^-3: the scale-invariant model of natural images."""
    picture = np.broadcast_to(palette(rng, 1)[0], (n, n, 3)).copy()
    count = int(rng.integers(150, 420))
    colours = palette(rng, count)
    smallest = rng.uniform(1.0, 3.0)
    radii = np.minimum(smallest / np.sqrt(rng.random(count) + 1e-4), n / 4)[::-1]
    rectangles = rng.random() < 0.4
    for radius, colour, (cy, cx), aspect in zip(
        np.sort(radii)[::-1] if rng.random() < 0.5 else radii,
        colours,
        rng.integers(0, n, (count, 2)),
        np.exp(rng.normal(0, 0.5, count)),
    ):
        ry, rx = int(np.ceil(radius * aspect)), int(np.ceil(radius / aspect))
        ry, rx = min(ry, n // 2 - 1), min(rx, n // 2 - 1)
        v, u = np.arange(-ry, ry + 1), np.arange(-rx, rx + 1)
        rows, columns = (cy + v) % n, (cx + u) % n
        if rectangles:
            picture[rows[:, None], columns] = colour
        else:
            inside = (v[:, None] / max(ry, 1)) ** 2 + (u / max(rx, 1)) ** 2 <= 1.0
            picture[rows[:, None], columns] = np.where(inside[..., None], colour, picture[rows[:, None], columns])
    return picture


def stripes(rng: Random, n: int) -> Picture:
    y, x = _grid(n)
    cycles = rng.integers(0, 9, 2) if rng.random() < 0.3 else np.array([0, rng.integers(2, 20)])
    phase = cycles[0] * y + cycles[1] * x + rng.uniform(0, 0.08) * spectral_noise(rng, n, 1.8)
    colours = palette(rng, int(rng.integers(2, 6)))
    return colours[np.floor(phase * len(colours)).astype(np.int64) % len(colours)]


def checks(rng: Random, n: int) -> Picture:
    y, x = _grid(n)
    cells = 2 * int(rng.integers(1, 9))
    colours = palette(rng, 2)
    odd = (np.floor(x * cells) + np.floor(y * cells)) % 2
    return colours[odd.astype(np.int64)]


def tiles(rng: Random, n: int) -> Picture:
    """Tiles, bricks or planks: rows shifted against each other, every piece its own shade, joints between."""
    y, x = _grid(n)
    rows, columns = 2 * int(rng.integers(1, 8)), int(rng.integers(1, 9))
    row = np.floor(y * rows).astype(np.int64)
    regular = (np.arange(rows) % 2) * float(rng.choice([0.0, 0.5]))
    shift = regular if rng.random() < 0.7 else rng.random(rows)
    across = np.asarray(x * columns + shift[row])
    column = np.floor(across).astype(np.int64) % columns
    base, joint = palette(rng, 2)
    shade = 1 + rng.uniform(0.02, 0.4) * rng.standard_normal((rows, columns, 1)).astype(np.float32)
    picture = base * np.clip(shade, 0.2, 1.8)[row, column]
    grain = spectral_noise(rng, n, 1.2, 3)
    picture = picture * (1 + rng.uniform(0, 0.25) * grain)[..., None]
    width = rng.uniform(0.0, 0.04)
    edge = np.minimum(
        np.minimum(y * rows % 1, 1 - y * rows % 1) / rows, np.minimum(across % 1, 1 - across % 1) / columns
    )
    return np.where((edge < width / 2)[..., None], joint, picture)


def wood(rng: Random, n: int) -> Picture:
    """Grain: noise stretched along one direction."""
    field = spectral_noise(rng, n, 1.0, 1)
    stretched = np.repeat(field[:, :: int(rng.choice([4, 8, 16]))], int(n), axis=1)[:, :n]
    spectrum = np.fft.rfft2(field)
    fy, fx = np.fft.fftfreq(n)[:, None] * n, np.arange(n // 2 + 1)[None] * 1.0
    spectrum *= np.exp(-((fx / rng.uniform(1, 6)) ** 2)) * (1 + np.abs(fy)) ** 0.3
    grain = np.fft.irfft2(spectrum, s=(n, n)).astype(np.float32)
    grain = grain / grain.std() + 0.1 * stretched
    return _mix(0.5 + 0.25 * grain, palette(rng, 2))


def spots(rng: Random, n: int) -> Picture:
    y, x = _grid(n)
    count = int(rng.integers(8, 60))
    centres, radii = rng.random((count, 2)), rng.uniform(0.01, 0.5 / np.sqrt(count), count)
    colours = palette(rng, 4)
    picture = np.broadcast_to(colours[0], (n, n, 3)).copy()
    for (cy, cx), radius, k in zip(centres, radii, rng.integers(1, 4, count)):
        dy, dx = (y - cy + 0.5) % 1 - 0.5, (x - cx + 0.5) % 1 - 0.5
        inside = _soft(radius - np.hypot(dy, dx), n)[..., None]
        picture += inside * (colours[k] - picture)
    return picture


def facade(rng: Random, n: int) -> Picture:
    """A grid of framed panes, each with its own shade: windows, shelves, keyboards, printed pages."""
    y, x = _grid(n)
    rows, columns = rng.integers(2, 10, 2)
    wall, frame, dark, bright = palette(rng, 4)
    fy, fx = y * rows % 1 - 0.5, x * columns % 1 - 0.5
    half_y, half_x = rng.uniform(0.2, 0.45, 2)
    lit = rng.random((rows, columns))[np.floor(y * rows).astype(int), np.floor(x * columns).astype(int)]
    pane = dark + (bright - dark) * lit[..., None].astype(np.float32)
    inside = (np.abs(fy) < half_y) & (np.abs(fx) < half_x)
    border = (np.abs(fy) < half_y + 0.04) & (np.abs(fx) < half_x + 0.04)
    picture = np.where(inside[..., None], pane, np.where(border[..., None], frame, wall))
    return picture * (1 + rng.uniform(0, 0.12) * spectral_noise(rng, n, 1.2)[..., None])


def print_like(rng: Random, n: int) -> Picture:
    """Lines of small marks between blocks of colour: text, labels, posters."""
    picture = dead_leaves(rng, n) if rng.random() < 0.4 else np.broadcast_to(palette(rng, 1)[0], (n, n, 3)).copy()
    ink = palette(rng, 1)[0] * 0.4
    pitch = int(rng.integers(5, 14))
    for top in range(0, n - pitch, pitch):
        marks = rng.random(n) < rng.uniform(0.3, 0.6)
        marks = np.repeat(marks, int(rng.integers(1, 4)))[:n] & (np.repeat(rng.random(n // 16 + 1), 16)[:n] > 0.2)
        picture[top : top + int(pitch * 0.6), marks] = ink
    return picture


def plain(rng: Random, n: int) -> Picture:
    """A painted wall: one colour, a whisper of mottle and grain."""
    mottle = spectral_noise(rng, n, 2.0) * rng.uniform(0.0, 0.05) + spectral_noise(rng, n, 0.3) * rng.uniform(0, 0.03)
    return palette(rng, 1)[0] * (1 + mottle)[..., None]


PATTERNS: tuple[Callable[[Random, int], Picture], ...] = (
    dead_leaves, noise, patches, tiles, wood, marble, dead_leaves, facade, stripes, spots, checks, print_like, plain,
)  # fmt: skip


def pattern(number: int, n: int, seed: int = 0) -> Picture:
    """The `number`-th pattern of a bank, [n, n, 3] float32 in 0..1, with a little wear on top."""
    rng = np.random.default_rng((seed, number))
    picture = PATTERNS[number % len(PATTERNS)](rng, n)
    wear = 1 + rng.uniform(0, 0.1) * spectral_noise(rng, n, 1.0) + rng.uniform(0, 0.04) * spectral_noise(rng, n, 0.0)
    return np.clip(picture * wear[..., None], 0, 1).astype(np.float32)
