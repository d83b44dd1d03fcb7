"""The tasks a job can run: factories that load what is heavy once and return a function for one item."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from openmore.errors import ConfigError
from openmore.masks.decision import Rule
from openmore.masks.pipeline import MaskOptions, extract_masks
from openmore.scale.manifest import Item
from openmore.scale.work import Runner

_SOURCE = ("dataset", "sequence", "fps", "stride", "start", "end", "max_frames")


def masks(long_side: int = 640, explain: bool = False, rule: str = "floor", **options: Any) -> Runner:
    """Motion masks of videos, picture folders, scene folders and posed data sets; `options` as in MaskOptions, plus
    frame sampling, plus `dataset` and `sequence` (then the source is the data set's root).

    An item's own options replace the job's. Backends with weights are loaded once.
    """
    from openmore.flow import get_flow
    from openmore.masks.segments import get_segmenter
    from openmore.masks.sources import open_clip
    from openmore.masks.write import write_result

    sampling, rest = split(options)
    chosen = MaskOptions(rule=Rule(rule), **_tuples(rest))  # type: ignore[arg-type]
    flow, segmenter = get_flow(chosen.flow), get_segmenter(chosen.segments)

    def run(item: Item, folder: Path) -> None:
        own_sampling, own = split(item.options)
        backends = {"flow": None if "flow" in own else flow, "segmenter": None if "segments" in own else segmenter}
        clip, shape = open_clip(item.source, long_side=long_side, **{**sampling, **own_sampling})
        result = extract_masks(clip, replace(chosen, **_tuples(own)), **backends)
        write_result(folder, clip, result, shape, explain=explain)

    return run


def reconstruct(weights: str = "small", device: str = "cpu", dtype: str = "auto", **options: Any) -> Runner:
    """Scene folders; `options` as in `openmore.pipeline.Options`. The network is loaded once."""
    from openmore.model.more import MoRe
    from openmore.pipeline import Options
    from openmore.pipeline import reconstruct as reconstruct_clip

    Options(**options)  # what is wrong for all clips is said once, before the first
    model = MoRe.from_pretrained(weights, device=device, dtype=dtype).pack()

    def run(item: Item, folder: Path) -> None:
        scene = reconstruct_clip(item.source, model, **{**options, **item.options})
        folder.rmdir()  # the scene writer makes its own folder
        scene.save(folder)

    return run


def split(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of the source (which frames of what), and the others. Raises ConfigError for what is neither."""
    known = (*_SOURCE, *MaskOptions.__dataclass_fields__)
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ConfigError(f"option {unknown[0]!r} of the masks task is unknown: choose from {', '.join(known)}")
    sampling = {name: value for name, value in options.items() if name in _SOURCE}
    return sampling, {name: value for name, value in options.items() if name not in _SOURCE}


def _tuples(options: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
