"""`openmore weights list | inspect | download | convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

verbs = typer.Typer(help="Known weights, what is inside a file, downloads and conversion.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the group of verbs."""
    app.add_typer(verbs, name="weights")


@verbs.command("list")
def list_weights() -> None:
    """Every set of weights known by name: is it here, how large, under which licence, trained on what."""
    from openmore.model.weights.registry import REGISTRY, local_file

    for entry in REGISTRY.values():
        path = local_file(entry)
        size = path.stat().st_size if path else entry.size_bytes
        where = f"here: {path}" if path else f"not here; from {entry.repo or 'this package'}"
        print(f"{entry.name:<12} {f'{size / 1e6:,.0f} MB' if size else 'size unknown':>12}  {where}")
        print(f"{'':12}   licence: {entry.licence}\n{'':12}   trained on: {entry.trained_on}")
        if entry.sha256 is None:
            print(f"{'':12}   checksum: not known, only that the file can be read is checked")


@verbs.command()
def inspect(
    file: Annotated[str, typer.Argument(help="A weights file, folder or name; PRESET:FILE to compare with a preset.")],
) -> None:
    """Compare a file's keys with the network they are for, key by key."""
    import torch

    from openmore.model.config import preset
    from openmore.model.more import MoRe
    from openmore.model.weights.load import compare, configuration, locate
    from openmore.model.weights.states import open_state

    path, preset_name, _ = locate(file)
    state = open_state(path)
    config = preset(preset_name) if preset_name else None  # to compare with, whatever the file says
    if config is None:
        config, preset_name = configuration(state, None)
    with torch.device("meta"):
        match = compare(MoRe(config), state, preset_name)
    print(f"{path}: {len(state.shapes)} tensors, read as {preset_name or 'its stored configuration'}")
    print(f"matched {len(match.matched)}")
    for word in ("missing", "unexpected", "reshaped", "ignored"):
        keys = getattr(match, word)
        print(f"{word} {len(keys)}")
        for key in keys:
            print(f"  {key}")


@verbs.command()
def download(name: Annotated[str, typer.Argument(help="A name from `openmore weights list`.")]) -> None:
    """Fetch weights into the cache folder, with a progress bar; checksum verified where `weights list` knows one."""
    from openmore.model.weights.hub import ensure_local
    from openmore.model.weights.registry import find

    print(ensure_local(find(name)))


@verbs.command()
def convert(
    source: Annotated[Path, typer.Argument(help="A .pt, .pth or .safetensors file.")],
    target: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
    preset: Annotated[str | None, typer.Option(help="Architecture, when the keys do not say.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing TARGET.")] = False,
) -> None:
    """Rewrite a checkpoint as safetensors with its configuration inside."""
    from openmore.io.output import FILE, require_free
    from openmore.model.weights import load
    from openmore.model.weights.keymaps import SAME_KEYS

    require_free(target, FILE, overwrite)
    match, read_as = load.convert(source, target, preset)
    kind = f"read as {read_as or 'its stored configuration'}"
    print(f"{target}: {kind}, {len(match.matched)} tensors, {len(match.ignored)} left out")
    if preset is None and read_as in SAME_KEYS:
        print(f"files of {', '.join(SAME_KEYS)} carry the same names: give --preset if it is another of them")
