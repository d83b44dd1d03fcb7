"""The KV cache of a stream: preallocated token stores and the attention pattern that reads them.

Choices
- Attention does not care about the order of its keys (positions are inside a frame only), so a store is a bag of
  token slots: a new frame is written into the slots of evicted ones, nothing is ever shifted or concatenated, and a
  step costs O(new frame). Whatever is left in use is kept in one prefix, so that attention reads plain views.
- All layers share one slot table. Slots in a row are written as a slice, others through an index tensor; for a CUDA
  graph all are, and the tensor's shape and place are constant in the steady state.
- The dtype is explicit: keys leave the k-norm in float32 and are cast on writing.
- Unbounded policies grow a store by a quarter of its size, layer by layer; bounded ones never allocate again.

Memory layout of one store, per layer:  k, v: [B, heads, capacity (tokens), head_dim]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from openmore.errors import StreamError
from openmore.model.attend import attend
from openmore.model.config import ModelConfig
from openmore.model.estimate import available_bytes
from openmore.streaming.policy import Kept
from openmore.streaming.storage import unwritten


class TokenStore:
    """Keys and values of tokens that belong to frames, for `layers` layers that share one slot table."""

    def __init__(
        self,
        layers: int,
        batch: int,
        heads: int,
        head_dim: int,
        capacity: int,
        dtype: torch.dtype,
        device: torch.device,
    ):
        self.capacity, self.device = capacity, device
        # A slot is read only after it was written.
        self.k, self.v = (
            [unwritten((batch, heads, capacity, head_dim), dtype, device) for _ in range(layers)] for _ in "kv"
        )
        self.used = 0  # slots 0..used hold tokens or are listed in `free`
        self.free: list[int] = []
        self.slots: dict[int, list[int]] = {}  # frame -> its slots, in token order
        # Per frame being processed: its slots, and how many slots it sees.
        self.new: list[tuple[Tensor | slice, int]] = []
        self._index = torch.empty(0, dtype=torch.long, device=device)

    def begin(self, frames: Sequence[int], tokens: int, by_number: bool = False) -> None:
        """Allot slots to new frames of `tokens` tokens each. Frame g of the group sees the cache and frames 0..g.

        Slots in a row are written as such, in a fraction of the time, unless `by_number`.
        """
        for frame in frames:
            self._allot(frame, tokens)
        self.compact()
        index = torch.tensor([slot for f in frames for slot in self.slots[f]])
        # Same storage in every step of the steady state: a captured CUDA graph reads the new numbers.
        if self._index.numel() != index.numel():
            self._index = torch.empty_like(index, device=self.device)
        self._index.copy_(index)
        last = len(frames) - 1
        places = [None if by_number else in_a_row(self.slots[frame]) for frame in frames]
        self.new = [
            (place or part, self.used - (last - g) * tokens)
            for g, (place, part) in enumerate(zip(places, self._index.split(tokens)))
        ]

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Write the new frames' keys and values [B, heads, G * tokens, head_dim] and attend, frame-causally."""
        tokens = q.shape[-2] // len(self.new)
        attended = []
        for g, (slots, visible) in enumerate(self.new):
            part = slice(g * tokens, (g + 1) * tokens)
            self.write(layer, slots, k[:, :, part], v[:, :, part])
            keys, values = self.view(layer, visible)
            attended.append(attend(q[:, :, part].to(keys.dtype), keys, values))
        return attended[0] if len(attended) == 1 else torch.cat(attended, -2)

    def keep(self, tokens_of: Mapping[int, int]) -> None:
        """Keep the first `tokens_of[frame]` tokens of each frame; frames not named are dropped."""
        for frame, slots in list(self.slots.items()):
            left = tokens_of.get(frame, 0)
            if left < len(slots):
                self.free += slots[left:]
                self.slots[frame] = slots[:left]
            if not left:
                del self.slots[frame]

    def compact(self) -> None:
        """Move tokens from the end into free slots, so that 0..used holds tokens only."""
        if not self.free:
            return
        kept, free = self.used - len(self.free), set(self.free)
        holes = sorted(i for i in free if i < kept)
        movers = [i for i in range(kept, self.used) if i not in free]
        if movers:
            source, target = (torch.tensor(x, device=self.device) for x in (movers, holes))
            for x in (*self.k, *self.v):
                x.index_copy_(2, target, x.index_select(2, source))
            moved = dict(zip(movers, holes))
            self.slots = {f: [moved.get(i, i) for i in slots] for f, slots in self.slots.items()}
        self.used, self.free = kept, []

    def write(self, layer: int, slots: Tensor | slice, k: Tensor, v: Tensor) -> None:
        """Store [B, heads, tokens, head_dim] under slot indices [tokens] or in a row, cast to the store's dtype."""
        for store, new in ((self.k[layer], k), (self.v[layer], v)):
            if isinstance(slots, slice):
                store[:, :, slots].copy_(new)
            else:
                store.index_copy_(2, slots, new.to(store.dtype))

    def view(self, layer: int, tokens: int | None = None) -> tuple[Tensor, Tensor]:
        """Keys and values of the first `tokens` slots (default: all in use), as views."""
        n = self.used if tokens is None else tokens
        return self.k[layer][:, :, :n], self.v[layer][:, :, :n]

    @property
    def signature(self) -> tuple[int, ...]:
        """What attention over the new frames depends on besides the contents of the store: places and counts."""
        places = self.k[0].data_ptr(), self._index.data_ptr()
        return *places, self._index.numel(), *(seen for _, seen in self.new)

    def gather(self, layer: int, frames: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Copies in frame and token order: [B, heads, all their tokens, head_dim]."""
        index = torch.tensor([slot for f in frames for slot in self.slots[f]], device=self.device)
        return self.k[layer].index_select(2, index), self.v[layer].index_select(2, index)

    @property
    def bytes(self) -> int:
        """Memory held, used or not."""
        return sum(x.numel() * x.element_size() for x in (*self.k, *self.v))

    def _allot(self, frame: int, tokens: int) -> None:
        fresh = max(tokens - len(self.free), 0)
        self.reserve(self.used + fresh)  # first: when memory runs out, nothing has been handed out yet
        reused, self.free = self.free[:tokens], self.free[tokens:]
        self.slots[frame] = [*reused, *range(self.used, self.used + fresh)]
        self.used += fresh

    def reserve(self, tokens: int) -> None:
        """Make room for `tokens` slots, at least a quarter as many again as there were when growing.

        A token is then copied five times in its life at most on average, and a fifth of the memory held is spare.
        Raises StreamError before the machine runs out of memory.
        """
        if tokens <= self.capacity:
            return
        capacity = max(tokens, self.capacity + self.capacity // 4)
        more, free = self.bytes * (capacity - self.capacity) // self.capacity, available_bytes(self.device)
        if more > free:
            raise StreamError(
                f"the cache has outgrown memory: it needs {more / 1e9:.1f} GB more and {free / 1e9:.1f} GB are free; "
                "choose a window or a budget"
            )
        for tensors in (self.k, self.v):
            for i, old in enumerate(tensors):
                if old.shape[2] < capacity:  # some have grown already if an earlier attempt ran out of memory
                    tensors[i] = unwritten((*old.shape[:2], capacity, old.shape[3]), old.dtype, self.device)
                    tensors[i][:, :, : old.shape[2]] = old
        self.capacity = capacity


def in_a_row(slots: list[int]) -> slice | None:
    """Slots that follow each other as a slice."""
    row = slice(slots[0], slots[0] + len(slots))
    return row if slots == list(range(row.start, row.stop)) else None


class StreamCache:
    """All a stream remembers, and the attention pattern of its next frames.

    Frame-causal inside a group of new frames: frame g of the group sees the cache and the group's frames 0..g.
    """

    def __init__(
        self,
        config: ModelConfig,
        tokens_per_frame: int,
        *,
        batch: int = 1,
        iterations: int | None = None,
        refinable: bool = False,
        frames: int = 8,
        specials: int = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        """Room for `frames` whole frames and `specials` frames of camera and register tokens only.

        `refinable` also keeps the frame blocks' keys and values, which `refine` needs: twice the memory.
        """
        self.config, self.P, self.batch = config, tokens_per_frame, batch
        self.blocks = config.camera_depth
        heads, head_dim = config.num_heads, config.embed_dim // config.num_heads
        capacity = frames * self.P + specials * config.first_patch
        device = torch.device(device)
        self.tokens = TokenStore(config.depth, batch, heads, head_dim, capacity, dtype, device)
        self.inside = (
            TokenStore(config.depth, batch, heads, head_dim, frames * self.P, dtype, device) if refinable else None
        )
        # The camera head is float32 and tiny: one token per frame, block and iteration.
        layers = (iterations or config.camera_iterations) * self.blocks
        camera_dim = 2 * config.embed_dim // config.camera_heads
        self.cameras = TokenStore(
            layers, batch, config.camera_heads, camera_dim, frames + specials, torch.float32, device
        )
        self.held = Kept(())

    # -- a step ---------------------------------------------------------------------------------------------------

    def begin(self, frames: Sequence[int], by_number: bool = False) -> None:
        """Make room for new frames; their keys and values arrive layer by layer during the pass.

        More than one frame at once requires that nothing was evicted yet: the group then fills fresh slots in order
        and each of its frames sees a prefix of what is in use (the session pushes one by one otherwise).
        `by_number`: where they go is read from tensors only, as a CUDA graph needs.
        """
        for store, tokens in self._stores():
            store.begin(frames, tokens, by_number)
        self.held = Kept((*self.held.whole, *frames), self.held.specials)

    def end(self, kept: Kept) -> None:
        """Forget what the policy did not keep."""
        if kept == self.held:
            return
        self.held = kept
        specials = dict.fromkeys(kept.specials, self.config.first_patch)
        self.tokens.keep(specials | dict.fromkeys(kept.whole, self.P))
        self.cameras.keep(dict.fromkeys((*kept.whole, *kept.specials), 1))
        if self.inside is not None:
            self.inside.keep(dict.fromkeys(kept.whole, self.P))

    # -- the attention pattern (openmore.model.attention.AttentionPattern) -------------------------------------------

    def over_tokens(self, layer: int, frames: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self.tokens.attend(layer, q, k, v)

    def over_cameras(self, iteration: int, block: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self.cameras.attend(iteration * self.blocks + block, q, k, v)

    def keep_frame(self, layer: int, k: Tensor, v: Tensor) -> None:
        if self.inside is None:
            return
        k, v = (x.unflatten(0, (self.batch, -1)) for x in (k, v))  # [B, G, heads, P, head_dim]
        for g, (slots, _) in enumerate(self.inside.new):
            self.inside.write(layer, slots, k[:, g], v[:, g])

    # -- memory of the duplicates (openmore.model.duplicates.DuplicateMemory) ----------------------------------------

    @property
    def frames(self) -> int:
        return len(self.held.whole)

    @property
    def starts_at_first_frame(self) -> bool:
        return self.held.whole[:1] == (0,)

    def frame_keys_values(self, layer: int) -> tuple[Tensor, Tensor]:
        assert self.inside is not None, "the session checks `refinable` first"
        k, v = self.inside.gather(layer, self.held.whole)
        return self._per_frame(k), self._per_frame(v)

    def global_keys_values(self, layer: int) -> tuple[Tensor, Tensor]:
        self.tokens.compact()
        return self.tokens.view(layer)

    def _per_frame(self, x: Tensor) -> Tensor:
        """[B, heads, S * P, head_dim] -> [B * S, heads, P, head_dim]."""
        return x.unflatten(2, (-1, self.P)).transpose(1, 2).flatten(0, 1)

    @property
    def signature(self) -> tuple[tuple[int, ...], ...]:
        """Equal for two steps whose kernels differ in nothing but the contents of tensors (see graphs.py)."""
        return tuple(store.signature for store, _ in self._stores())

    @property
    def is_full(self) -> bool:
        """Whether every slot is taken: from then on each step of a bounded stream is like the one before."""
        return self.tokens.used == self.tokens.capacity

    # -- size -----------------------------------------------------------------------------------------------------

    def _stores(self) -> list[tuple[TokenStore, int]]:
        """Every store with the number of tokens a new frame puts into it."""
        stores = [(self.tokens, self.P), (self.cameras, 1)]
        return stores if self.inside is None else [*stores, (self.inside, self.P)]

    @property
    def bytes(self) -> int:
        """Memory held."""
        return sum(store.bytes for store, _ in self._stores())


def frame_bytes(config: ModelConfig, tokens_per_frame: int, dtype: torch.dtype, refinable: bool, batch: int = 1) -> int:
    """Cache memory of one whole frame."""
    size = torch.empty((), dtype=dtype).element_size()
    blocks = 2 * config.depth * tokens_per_frame * config.embed_dim * size * (2 if refinable else 1)
    cameras = 2 * config.camera_iterations * config.camera_depth * 2 * config.embed_dim * 4
    return batch * (blocks + cameras)
