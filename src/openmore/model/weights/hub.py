"""Downloads: the only code that talks to the network, with a progress bar; what arrives is verified.

Choices
- Without a network the answer is one clear line at once: a reachability check comes before the hub's own retries.
- The hub picks up a dropped connection a few times where it was. A download that ended starts over: huggingface_hub 2.4
  removes what it had.
- A file is verified whenever it is asked for, not only after its download: a stop in between leaves nothing trusted.
- Where no checksum is known, the file must at least be readable; a safetensors header accounts for every byte.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from urllib.parse import urlparse

from openmore.errors import CheckpointError
from openmore.model.weights.registry import Entry, cache_folder, cached_file, local_file
from openmore.model.weights.states import first_line, open_state
from openmore.model.weights.verified import file_hash, remove

PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
PORTS = {"https": 443, "http": 80}


def ensure_local(entry: Entry) -> Path:
    """The entry's file on this machine, downloaded if need be, and verified.

    Raises CheckpointError when it cannot be had or is not what its publisher states.
    """
    path = local_file(entry)
    if path is None:
        return download(entry)
    if entry.sha256 is None:
        return _readable(path)
    if file_hash(path) != entry.sha256:
        mend = "reinstall openmore" if entry.repo is None else f"remove it, then openmore weights download {entry.name}"
        raise CheckpointError(f"{path} has another checksum than {entry.name} is published with: {mend}")
    return path


def download(entry: Entry) -> Path:
    """Fetch into the cache folder and verify. Raises CheckpointError when offline, refused, broken off or damaged."""
    if entry.repo is None:
        raise CheckpointError(f"the weights {entry.name!r} are not in this installation: reinstall openmore")
    path = _from_hub(entry.repo, entry.filename, cached_file(entry).parent)
    if entry.sha256 is None:
        return _readable(path)
    if file_hash(path) != entry.sha256:
        remove(path)
        raise CheckpointError(f"{entry.name}: the downloaded file has another checksum and was removed: try again")
    return path


def _readable(path: Path) -> Path:
    """The path of a file of unknown checksum. Raises CheckpointError unless it can be opened."""
    try:
        open_state(path)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; if it was damaged on its way, remove it and download it again") from error
    return path


def download_repo(repo: str) -> Path:
    """The folder with the model.safetensors of a Hugging Face repository "owner/name"."""
    if repo.count("/") != 1:
        raise CheckpointError(f"hf:{repo} is not hf:owner/name")
    folder = cache_folder() / "hub" / repo.replace("/", "--")
    return _readable(_from_hub(repo, "model.safetensors", folder)).parent


def _from_hub(repo: str, filename: str, folder: Path) -> Path:
    path = folder / filename
    if path.is_file():
        return path
    require_network(f"{filename} of {repo}", path)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repo, filename, local_dir=folder))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise CheckpointError(f"cannot download {filename} of {repo}: {first_line(error)}") from error
    except Exception as error:  # a line that breaks: the hub's transport and hf_xet have their own classes, by version
        raise CheckpointError(
            f"the download of {filename} of {repo} broke off ({first_line(error)}): the same command tries again"
        ) from error


def require_network(what: str, place: Path | None = None) -> None:
    """Raise at once when the hub cannot be reached. `place`: where `what` is looked for before it is downloaded."""
    advice = "download it elsewhere and pass the file" + (f", or put it at {place}" if place else "")
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        raise CheckpointError(f"{what} is not on this machine and HF_HUB_OFFLINE is set: {advice}")
    if any(os.environ.get(name) for name in PROXIES):
        return  # a proxy resolves names for us
    host, port = _hub_address()
    try:
        socket.create_connection((host, port), timeout=3).close()
    except OSError as error:
        raise CheckpointError(f"{what} is not on this machine and {host}:{port} cannot be reached: {advice}") from error


def _hub_address() -> tuple[str, int]:
    """Host and port of the hub or its mirror. Raises CheckpointError when HF_ENDPOINT is not a URL."""
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        url = urlparse(endpoint)
        host, port = url.hostname, url.port or PORTS.get(url.scheme)
    except ValueError:
        host = port = None
    if host is None or port is None:
        raise CheckpointError(f"HF_ENDPOINT {endpoint!r} is not a URL: expected https://HOST or http://HOST:PORT")
    return host, port
