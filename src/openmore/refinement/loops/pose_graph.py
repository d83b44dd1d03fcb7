"""A graph of similarities: places that hang together in a chain, and loops that tie far ones.

Choices
- Gauss-Newton over Sim(3): a moving camera drifts in scale as well as in place and direction (Strasdat et al. 2010).
- Loops are judged before, each against the chain and against each other (Mangelson et al. 2018, "Pairwise consistent
  measurement set maximization"), and what is left is believed. A robust loss was tried instead: it starts from a chain
  that has drifted, where right and wrong loops are equally far off, and bent a soft chain to satisfy a wrong one.
- The caller bounds the number of nodes, so the matrix is dense.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openmore.refinement.loops import sim3

LIKELY = 5.0  # standard deviations (of seven numbers together: one in a thousand is farther off)
STEPS = 30
SMALLEST = 1e-5  # tangent step, in units of the nodes, that ends it


@dataclass(frozen=True)
class Edges:
    """Measured similarities between nodes: `measured` = i_from_j, from coordinates of node j to those of node i."""

    i: np.ndarray  # [E] int64
    j: np.ndarray  # [E] int64
    measured: np.ndarray  # [E, 4, 4]
    information: np.ndarray  # [E, 7, 7], inverse covariance of a right increment of `measured`

    def select(self, keep: np.ndarray) -> Edges:
        """Some edges, by mask [E]."""
        return Edges(self.i[keep], self.j[keep], self.measured[keep], self.information[keep])


def agreeing(nodes: np.ndarray, loops: Edges, chain_variance: np.ndarray, loop_variance: float) -> np.ndarray:
    """Which loops [E] bool are likely and agree with that one which most others agree with.

    Loops go from node j to a later node i. `chain_variance` [N] is that of the chain from its beginning to each node,
    `loop_variance` that of what a loop says; both of each of the seven numbers.
    """
    place = chain_variance[np.stack((loops.i, loops.j))]
    off = np.linalg.norm(_residual(nodes, loops), axis=1)
    likely = off < LIKELY * np.sqrt(place[0] - place[1] + loop_variance)
    world = nodes[loops.i] @ loops.measured @ sim3.inverse(nodes[loops.j])
    # What one loop says less what another says, in coordinates of the first one's node j.
    cycle = sim3.inverse(world @ nodes[loops.j])[:, None] @ world @ nodes[loops.j][:, None]
    apart = np.abs(place[:, :, None] - place[:, None]).sum(0)
    off = np.linalg.norm(sim3.log(cycle.reshape(-1, 4, 4)), axis=1).reshape(apart.shape)
    agree = (off < LIKELY * np.sqrt(apart + 2 * loop_variance)) & likely & likely[:, None]
    return agree[agree.sum(1).argmax()] if len(agree) else likely


def optimise(nodes: np.ndarray, chain: Edges, loops: Edges) -> np.ndarray:
    """Nodes world_from_node [N, 4, 4] that suit all edges best, the first one held."""
    for _ in range(STEPS):
        H, g = np.zeros((len(nodes), len(nodes), 7, 7)), np.zeros((len(nodes), 7))
        for edges in (chain, loops):
            _add(nodes, edges, H, g)
        n = 7 * (len(nodes) - 1)
        step = -np.linalg.solve(H[1:, 1:].swapaxes(1, 2).reshape(n, n), g[1:].reshape(n)).reshape(-1, 7)
        nodes = np.concatenate((nodes[:1], nodes[1:] @ sim3.exp(step)))
        if np.abs(step).max() < SMALLEST:
            break
    return nodes


def _residual(nodes: np.ndarray, edges: Edges) -> np.ndarray:
    """[E, 7]: zero where node j lies as measured from node i."""
    return sim3.log(sim3.inverse(edges.measured) @ sim3.inverse(nodes[edges.i]) @ nodes[edges.j])


def _add(nodes: np.ndarray, edges: Edges, H: np.ndarray, g: np.ndarray) -> None:
    """Add the edges' normal equations to H [N, N, 7, 7] and g [N, 7]."""
    residual = _residual(nodes, edges)
    J_j = sim3.right_jacobian_inverse(residual)
    J_i = -J_j @ sim3.adjoint(sim3.inverse(nodes[edges.j]) @ nodes[edges.i])
    for k, J in ((edges.i, J_i), (edges.j, J_j)):
        weighed = J.swapaxes(1, 2) @ edges.information
        np.add.at(g, k, (weighed @ residual[..., None])[..., 0])
        for m, other in ((edges.i, J_i), (edges.j, J_j)):
            np.add.at(H, (k, m), weighed @ other)
