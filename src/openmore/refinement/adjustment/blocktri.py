"""The camera system left by eliminating the points: symmetric, with a border for what all cameras share.

Choices
- Frames are grouped so that no track reaches past the next group: the matrix is then block tridiagonal, its Cholesky
  factor has two dense blocks a group, and time and memory are linear in the frames. A short clip is one group.
- Cameras that are not free are left out of the matrix; indices in and out are those of the clip.
"""

from __future__ import annotations

import numpy as np

GROUP = 24  # frames in a group, at least; more when tracks are longer


class CameraSystem:
    """[[A, g], [g^T, h]] [x, y] = [b, bg]: A over the cameras, y the G unknowns that all of them share."""

    def __init__(
        self,
        diagonal: np.ndarray,  # [S, c, c]
        b: np.ndarray,  # [S, c]
        g: np.ndarray,  # [S, c, G]
        h: np.ndarray,  # [G, G]
        bg: np.ndarray,  # [G]
        free: np.ndarray,  # [S] bool
        free_shared: np.ndarray,  # [G] bool
        span: int,  # largest distance of two coupled frames
    ):
        self.b, self.g, self.h, self.bg = b, g, h, bg
        self.free, self.free_shared = np.flatnonzero(free), np.flatnonzero(free_shared)
        self.size = max(GROUP, span)
        self.c = diagonal.shape[-1]
        slots = np.full(len(free), -1)
        slots[self.free] = np.arange(len(self.free))  # free frames keep their order: the span cannot grow
        self.slot = slots
        groups = max(1, -(-len(self.free) // self.size))
        n = self.size * self.c
        self.D = np.zeros((groups, self.size, self.c, self.size, self.c))
        self.E = np.zeros((max(groups - 1, 0), self.size, self.c, self.size, self.c))  # group k + 1 against group k
        self._n = n
        group, place = self._where(self.free)
        self.D[group, place, :, place, :] = diagonal[self.free]
        empty = np.arange(len(self.free), groups * self.size)
        self.D[empty // self.size, empty % self.size, :, empty % self.size, :] = np.eye(self.c)

    def _where(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        slot = self.slot[frames]
        return slot // self.size, slot % self.size

    def subtract(self, later: np.ndarray, earlier: np.ndarray, blocks: np.ndarray) -> None:
        """Take blocks [N, c, c] off the rows of frames `later` and columns of frames `earlier` (each pair once)."""
        gi, i = self._where(later)
        gk, k = self._where(earlier)
        same = gi == gk
        self.D[gi[same], i[same], :, k[same], :] -= blocks[same]
        other = ~same
        self.E[gk[other], i[other], :, k[other], :] -= blocks[other]

    def hold_distance(self, frame: int, direction: np.ndarray) -> None:
        """Forbid frame `frame` to move along `direction` [3]: fixes the scale, which images do not show."""
        length = float(np.linalg.norm(direction))
        if not self.slot[frame] >= 0 or length == 0:
            return
        group, place = self._where(np.array([frame]))
        block = self.D[group[0], place[0], 3:6, place[0], 3:6]
        block += 1e6 * float(np.trace(block)) * np.outer(direction, direction) / length**2

    def _factor(self) -> tuple[list[np.ndarray], list[np.ndarray]] | None:
        """Lower Cholesky factors: diagonal blocks and those below them. None when not positive definite.

        Only the lower triangle of each diagonal block is filled, which is all that Cholesky reads.
        """
        n, diagonal, below = self._n, [], []
        for k in range(len(self.D)):
            D = self.D[k].reshape(n, n)
            if k:
                D = D - below[-1] @ below[-1].T
            try:
                diagonal.append(np.linalg.cholesky(D))
            except np.linalg.LinAlgError:
                return None
            if k < len(self.E):
                below.append(np.linalg.solve(diagonal[-1], self.E[k].reshape(n, n).T).T)
        return diagonal, below

    def solve(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Increments [S, c] and the shared ones [G]; zero where not free. None when not positive definite."""
        factor = self._factor()
        if factor is None:
            return None
        shared = self.free_shared
        g = self.g[self.free][..., shared]
        rhs = np.zeros((len(self.D) * self.size, self.c, 1 + len(shared)))
        rhs[: len(self.free), :, 0], rhs[: len(self.free), :, 1:] = self.b[self.free], g
        x = _substitute(*factor, rhs.reshape(len(self.D), self._n, -1)).reshape(*rhs.shape)[: len(self.free)]
        y = np.zeros(len(self.bg))
        if len(shared):
            left = self.h[np.ix_(shared, shared)] - np.einsum("scg,sch->gh", g, x[..., 1:])
            if np.linalg.eigvalsh(left)[0] <= 0:
                return None
            y[shared] = np.linalg.solve(left, self.bg[shared] - np.einsum("scg,sc->g", g, x[..., 0]))
        out = np.zeros_like(self.b)
        out[self.free] = x[..., 0] - x[..., 1:] @ y[shared]
        return out, y

    def covariance(self) -> np.ndarray:
        """Diagonal blocks [S, c, c] of the inverse of A; zero where not free or where A is not positive definite."""
        out = np.zeros((len(self.b), self.c, self.c))
        factor = self._factor()
        if factor is None:
            return out
        diagonal, below = factor
        inverses: list[np.ndarray] = []
        for k in reversed(range(len(diagonal))):
            L_inv = np.linalg.inv(diagonal[k])
            own = L_inv.T @ L_inv
            if inverses:
                # Takahashi's recursion for a block-bidiagonal factor.
                G = below[k] @ L_inv
                own = own + G.T @ inverses[-1] @ G
            inverses.append(own)
        blocks = np.stack(inverses[::-1]).reshape(len(diagonal), self.size, self.c, self.size, self.c)
        group, place = self._where(self.free)
        out[self.free] = blocks[group, place, :, place, :]
        return out


def _substitute(diagonal: list[np.ndarray], below: list[np.ndarray], rhs: np.ndarray) -> np.ndarray:
    """Solve L L^T x = rhs [groups, n, m]."""
    y = np.empty_like(rhs)
    for k in range(len(diagonal)):
        y[k] = np.linalg.solve(diagonal[k], rhs[k] - (below[k - 1] @ y[k - 1] if k else 0))
    for k in reversed(range(len(diagonal))):
        rest = y[k] - (below[k].T @ y[k + 1] if k < len(below) else 0)
        y[k] = np.linalg.solve(diagonal[k].T, rest)
    return y
