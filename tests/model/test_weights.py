"""Strict, safe, lazy loading; every refusal is one line."""

from __future__ import annotations

import json
import os
import pickle
import socket
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file

from openmore.errors import CheckpointError, ConfigError
from openmore.model.config import preset
from openmore.model.more import MoRe
from openmore.model.weights import hub, verified
from openmore.model.weights.keymaps import guess_preset, match_keys
from openmore.model.weights.load import configuration, convert, load_file, locate, save, untrained
from openmore.model.weights.registry import PACKAGED, REGISTRY, is_embedded
from openmore.model.weights.states import CONFIG_KEY, open_state, sha256, strip_prefixes
from openmore.pipeline import Options
from openmore.pipeline.run import wants_fusion, wants_geometry


@pytest.fixture(scope="module")
def network() -> MoRe:
    return untrained("tiny")


def same(a: MoRe, b: MoRe) -> bool:
    x, y = a.state_dict(), b.state_dict()
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


def test_save_and_load_keep_config_and_provenance(network: MoRe, tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    save(network, path, trained_on="nothing")
    again = MoRe.from_pretrained(str(path), dtype="fp32")
    assert same(network, again) and again.config == network.config
    assert again.provenance["trained_on"] == "nothing" and len(str(again.provenance["sha256"])) == 64
    assert same(again, MoRe.from_pretrained(str(tmp_path), dtype="fp32"))  # a folder with one file
    images = torch.rand(1, 2, 3, 28, 28)
    with torch.no_grad():  # constants that no file carries are restored too
        torch.testing.assert_close(again(images).depth, network.eval()(images).depth)


@pytest.mark.parametrize("wrap", ["plain", "model", "net"])
def test_pickles_of_training_code(network: MoRe, tmp_path: Path, wrap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    state = network.state_dict()
    content = {"plain": state, "model": {"model": state, "epoch": 3}, "net": {f"net.{k}": v for k, v in state.items()}}
    path = tmp_path / "tiny.pt"
    torch.save(content[wrap], path)
    assert same(network, load_file(path, "tiny"))


def test_bf16_files_load_as_float32(network: MoRe, tmp_path: Path) -> None:
    save(network, tmp_path / "half.safetensors", torch.bfloat16)
    loaded = load_file(tmp_path / "half.safetensors")
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}


def test_a_mismatch_lists_the_keys(network: MoRe, tmp_path: Path) -> None:
    state = network.state_dict()
    state["surprise"] = state.pop("camera_head.embed_pose.bias")
    save_file(state, tmp_path / "odd.safetensors")
    with pytest.raises(CheckpointError, match=r"1 missing: camera_head.embed_pose.bias; 1 unexpected: surprise"):
        load_file(tmp_path / "odd.safetensors", "tiny")
    with pytest.raises(CheckpointError, match="does not fit vggt-1b"):
        load_file(tmp_path / "odd.safetensors", "vggt-1b")


def test_ignored_keys_are_named_and_only_for_presets_that_have_them() -> None:
    file = {"a": (1,), "track_head.x": (2,)}
    assert match_keys({"a": (1,)}, file, "vggt-1b").ignored == ["track_head.x"]
    assert match_keys({"a": (1,)}, file, "stream3r").unexpected == ["track_head.x"]
    assert match_keys({"a": (3,)}, file, "vggt-1b").reshaped == ["a (file [1], network [3])"]


def test_presets_are_guessed_from_keys() -> None:
    assert guess_preset({"aggregator.camera_token": (1,)}) == "vggt-1b"
    assert guess_preset({"motion_head.norm.bias": (1,)}) == "more-full"
    assert guess_preset({"motion_head.norm.bias": (1,), "aggregator.additional_camera_token": (1,)}) == "more-stream"
    assert strip_prefixes(["module.net.a", "module.net.b"]) == {"a": "module.net.a", "b": "module.net.b"}


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps({"model": Evil()}))
    with pytest.raises(CheckpointError):
        load_file(path, "tiny")
    torch.save({"model": Evil()}, path)
    with pytest.raises(CheckpointError, match="could run code"):
        load_file(path, "tiny")
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"not weights at all", b"root:x:0:0", b"\x80\x04N."])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_damaged_files(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        open_state(path)
    assert "\n" not in str(caught.value)


def test_unknown_names_offer_the_nearest() -> None:
    with pytest.raises(CheckpointError, match="did you mean more-stream"):
        MoRe.from_pretrained("more-strem")
    with pytest.raises(CheckpointError, match="no weights file at"):
        MoRe.from_pretrained("nowhere.safetensors")
    with pytest.raises(ConfigError, match="there are"):
        MoRe.from_pretrained("untrained:huge")


def test_offline_is_said_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENMORE_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE is set: download it elsewhere"):
        MoRe.from_pretrained("vggt-1b")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    for name in hub.PROXIES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "https://no-such-host.invalid")
    with pytest.raises(CheckpointError, match="cannot be reached"):
        MoRe.from_pretrained("hf:owner/name")
    with pytest.raises(CheckpointError, match="not hf:owner/name"):
        MoRe.from_pretrained("hf:name")


def test_offline_advice_names_the_file_and_reaches_the_mirror_s_port(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENMORE_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    for name in hub.PROXIES:
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
        hub.require_network("a file")
    with pytest.raises(CheckpointError, match=f"127.0.0.1:{port} cannot be reached") as caught:
        hub.ensure_local(REGISTRY["more-full"])
    assert str(tmp_path / "more-full" / "more_full.pt") in str(caught.value)
    for wrong in ("127.0.0.1:8977", "", "http://host:port"):
        monkeypatch.setenv("HF_ENDPOINT", wrong)
        with pytest.raises(CheckpointError, match="is not a URL"):
            hub.require_network("a file")


class BrokenOff(Exception):
    """As httpx2.RemoteProtocolError: neither an OSError nor one of the hub's."""


@pytest.mark.parametrize("error", [BrokenOff("peer closed connection"), RuntimeError("peer closed connection")])
def test_a_download_that_breaks_off_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    def broken(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setenv("OPENMORE_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(hub, "require_network", lambda *_: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", broken)
    with pytest.raises(CheckpointError, match=r"broke off \(peer closed connection\): the same command tries again"):
        hub.ensure_local(REGISTRY["more-full"])


def test_a_download_with_another_checksum_is_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENMORE_WEIGHTS", str(tmp_path))
    path = tmp_path / "more_full.pt"
    path.write_bytes(b"half a file")
    monkeypatch.setattr(hub, "_from_hub", lambda *_: path)
    with pytest.raises(CheckpointError, match="another checksum"):
        hub.download(REGISTRY["more-full"])
    assert not os.listdir(tmp_path)


def test_a_cached_file_is_verified_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENMORE_WEIGHTS", str(tmp_path))
    path = tmp_path / "more-full" / "more_full.pt"
    path.parent.mkdir()
    path.write_bytes(b"as a killed run left it")
    with pytest.raises(CheckpointError, match="another checksum than more-full is published with: remove it, then"):
        hub.ensure_local(REGISTRY["more-full"])
    entry = replace(REGISTRY["more-full"], sha256=sha256(path))
    assert hub.ensure_local(entry) == path
    with monkeypatch.context() as patch:
        patch.setattr(verified, "sha256", lambda _: pytest.fail("hashed again"))
        assert hub.ensure_local(entry) == path
    path.write_bytes(b"as a killed run spoilt it")
    with pytest.raises(CheckpointError, match="another checksum"):
        hub.ensure_local(entry)


def test_what_has_no_checksum_must_be_readable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"<html>please log in</html>")
    monkeypatch.setattr(hub, "_from_hub", lambda *_: path)
    for source in ("vggt-1b", "hf:owner/name"):
        with pytest.raises(CheckpointError, match="damaged on its way, remove it"):
            locate(source)


def test_hashes_are_remembered_in_the_cache_folder_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENMORE_WEIGHTS", str(tmp_path / "cache"))
    for folder in (tmp_path / "cache", tmp_path / "own"):
        folder.mkdir()
        (folder / "a.pt").write_bytes(b"content")
        assert verified.file_hash(folder / "a.pt") == sha256(folder / "a.pt")
    assert (tmp_path / "cache" / "a.pt.verified").is_file() and os.listdir(tmp_path / "own") == ["a.pt"]


def test_the_registry_says_of_small_what_its_file_says() -> None:
    entry = REGISTRY["small"]
    named, by_path = (MoRe.from_pretrained(source) for source in ("small", str(PACKAGED / entry.filename)))
    assert named.provenance["trained_on"] == by_path.provenance["trained_on"] == entry.trained_on
    assert named.provenance["sha256"] == entry.sha256 and is_embedded(named.provenance)


def test_only_the_embedded_weights_get_geometry_and_fusion(network: MoRe, tmp_path: Path) -> None:
    save(network, tmp_path / "weights.safetensors", name="small")  # as a training run of the recipe `small`
    torch.save(network.state_dict(), tmp_path / "small.pt")
    convert(tmp_path / "small.pt", tmp_path / "small.safetensors", "tiny")
    for path in (tmp_path / "weights.safetensors", tmp_path / "small.safetensors"):
        model = MoRe.from_pretrained(str(path))
        assert model.provenance["name"] == "small"
        assert not wants_geometry(Options(), model) and not wants_fusion(Options(), model)
    embedded = MoRe.from_pretrained("small")
    assert wants_geometry(Options(), embedded) and wants_fusion(Options(), embedded)


def test_a_preset_may_not_contradict_a_stored_configuration(network: MoRe, tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    save(network, path)
    with pytest.raises(ConfigError, match="is not small: its stored configuration has image_size 56, expected 224"):
        MoRe.from_pretrained(f"small:{path}")
    assert same(network, MoRe.from_pretrained(f"tiny:{path}", dtype="fp32"))


def test_a_preset_decides_what_no_tensor_tells(tmp_path: Path) -> None:
    path = tmp_path / "vggt.safetensors"  # with a configuration, without the gigabytes
    save_file({"a": torch.zeros(1)}, path, {CONFIG_KEY: json.dumps(preset("vggt-1b").to_dict())})
    state = open_state(path)
    assert configuration(state, None) == (preset("vggt-1b"), None)
    assert configuration(state, "stream3r") == (preset("stream3r"), "stream3r")


def test_home_is_expanded_behind_a_preset(monkeypatch: pytest.MonkeyPatch, network: MoRe, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save(network.state_dict(), tmp_path / "x.pt")
    assert locate("tiny:~/x.pt")[0] == tmp_path / "x.pt"


def test_convert_to_safetensors(network: MoRe, tmp_path: Path) -> None:
    torch.save(network.state_dict(), tmp_path / "a.pt")
    match, read_as = convert(tmp_path / "a.pt", tmp_path / "b.safetensors", "tiny")
    assert match.exact and read_as == "tiny" and same(network, load_file(tmp_path / "b.safetensors"))
    with pytest.raises(CheckpointError, match=r"must end in \.safetensors"):
        convert(tmp_path / "a.pt", tmp_path / "b.pt", "tiny")


def test_convert_keeps_provenance_and_number_type(network: MoRe, tmp_path: Path) -> None:
    source, target = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save(network, source, torch.bfloat16, name="mine", trained_on="clips", steps=7)
    assert convert(source, target)[1] is None
    state = open_state(target)
    assert {state.fetch(name).dtype for name in state.shapes} == {torch.bfloat16}
    kept = MoRe.from_pretrained(str(target)).provenance
    assert (kept["name"], kept["trained_on"], kept["steps"]) == ("mine", "clips", 7)
    assert kept["converted_from"] == sha256(source)


def test_device_and_dtype_are_checked() -> None:
    with pytest.raises(ConfigError, match="unknown device"):
        MoRe.from_pretrained("untrained:tiny", device="gpu")
    with pytest.raises(ConfigError, match="device meta is not supported"):
        MoRe.from_pretrained("untrained:tiny", device="meta")
    with pytest.raises(ConfigError, match="dtype 'fp16'"):
        MoRe.from_pretrained("untrained:tiny", dtype="fp16")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no CUDA GPU"):
            MoRe.from_pretrained("untrained:tiny", device="cuda")


def test_presets_exist_for_every_entry() -> None:
    for entry in REGISTRY.values():
        assert preset(entry.preset)
