"""Downloads: the only code that talks to the network. Resumable, with a progress bar, checksum verified.

Without a network the answer is one clear line at once: a reachability check comes before the hub's own retries.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from urllib.parse import urlparse

from openmore.errors import CheckpointError
from openmore.model.weights.registry import Entry, cache_folder, local_file
from openmore.model.weights.states import first_line, sha256

PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


def ensure_local(entry: Entry) -> Path:
    """The entry's file on this machine, downloaded and verified if need be."""
    path = local_file(entry)
    if path is None and entry.repo is None:
        raise CheckpointError(f"the weights {entry.name!r} are not in this installation: reinstall openmore")
    return path or download(entry)


def download(entry: Entry) -> Path:
    """Fetch into the cache folder and verify. Raises CheckpointError when offline, refused or damaged."""
    if entry.repo is None:
        raise CheckpointError(f"{entry.name} is shipped with the package: there is nothing to download")
    path = _from_hub(entry.repo, entry.filename, cache_folder() / entry.name)
    if entry.sha256 and sha256(path) != entry.sha256:
        path.unlink()
        raise CheckpointError(f"{entry.name}: the downloaded file has another checksum and was removed: try again")
    return path


def download_repo(repo: str) -> Path:
    """The weights of a Hugging Face repository "owner/name": a folder with one file and its config.json."""
    if repo.count("/") != 1:
        raise CheckpointError(f"hf:{repo} is not hf:owner/name")
    folder = cache_folder() / "hub" / repo.replace("/", "--")
    return _from_hub(repo, "model.safetensors", folder)


def _from_hub(repo: str, filename: str, folder: Path) -> Path:
    if (folder / filename).is_file():
        return folder / filename
    require_network(f"{filename} of {repo}")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repo, filename, local_dir=folder))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise CheckpointError(f"cannot download {filename} of {repo}: {first_line(error)}") from error


def require_network(what: str) -> None:
    """Raise at once when the hub cannot be reached."""
    advice = f"download it elsewhere and pass the file, or put it under {cache_folder()}"
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        raise CheckpointError(f"{what} is not on this machine and HF_HUB_OFFLINE is set: {advice}")
    if any(os.environ.get(name) for name in PROXIES):
        return  # a proxy resolves names for us
    host = urlparse(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).hostname or "huggingface.co"
    try:
        socket.create_connection((host, 443), timeout=3).close()
    except OSError as error:
        raise CheckpointError(f"{what} is not on this machine and {host} cannot be reached: {advice}") from error
