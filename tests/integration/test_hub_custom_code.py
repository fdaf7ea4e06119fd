"""A recommender with its code, for people without this package: loaded and used in an environment that lacks it."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from reclm_hf.hub.publish import Pushed, push
from reclm_hf.hub.staging import PushOptions
from reclm_hf.recommender.custom_code import auto_map, code_files
from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from tests.hubserver.loopback import LoopbackHub
from tests.integration.test_hub_card_code import blocks, card_of
from tests.recommender.models import untrained

KIND = ("sgl", "floor_residual", "llm")

PROGRAM = """
import contextlib, importlib.util, io, json, sys
assert importlib.util.find_spec("reclm_hf") is None, "the package must not be here"
import numpy as np
import pandas as pd
from transformers import AutoModel

repo_id, commit, folder, block = sys.argv[1:]
try:
    AutoModel.from_pretrained(repo_id, revision=commit, trust_remote_code=False)
    refused = ""
except ValueError as error:
    refused = str(error)
model = AutoModel.from_pretrained(repo_id, trust_remote_code=True, revision=commit, code_revision=commit)
found = model.recommend(["user-07", "user-08"], k=5)
similar = model.recommend_for_history(["001", "003"], k=5)
model.add_items(pd.DataFrame({"item_id": ["new"], "title": ["New"]}), vectors=np.eye(1, 16, dtype=np.float32))
try:
    model.add_items(pd.DataFrame({"item_id": ["newer"], "title": ["Newer"]}))
    advice = ""
except ImportError as error:
    advice = str(error)
with contextlib.redirect_stdout(io.StringIO()) as said:
    exec(block)
model.save_pretrained(folder)
again = AutoModel.from_pretrained(folder, trust_remote_code=True)
print(json.dumps({
    "items": found.item_ids, "scores": found.scores, "similar": similar.item_ids, "module": type(model).__module__,
    "said": said.getvalue(), "refused": refused, "advice": advice, "again": again.catalog.item_ids[-1],
}))
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the libraries of this one, and without reclm_hf.

    Its libraries are links to those of this environment, all but what an install of reclm_hf left there.
    """
    place = tmp_path_factory.mktemp("elsewhere") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True, timeout=120)
    packages = next(place.glob("lib/python*/site-packages"))
    for library in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if "reclm_hf" not in library.name and not (packages / library.name).exists():
            (packages / library.name).symlink_to(library)
    return place / "bin" / "python"


def test_it_recommends_without_the_package(hub: LoopbackHub, elsewhere: Path, tmp_path: Path) -> None:
    model = untrained(*KIND)
    model.save_pretrained(tmp_path / "model")
    pushed = push(tmp_path / "model", f"{hub.namespace}/with-code", PushOptions(code=True), progress=False)
    assert isinstance(pushed, Pushed)
    code = {path.name for path in code_files()}
    assert code <= set(hub.files(pushed.repo_id))
    config = json.loads((Path(hub_file(pushed, "config.json"))).read_text())
    assert config["auto_map"] == auto_map()

    _, block = blocks(card_of(pushed))
    surroundings = {name: value for name, value in hub.environment().items() if name != "PYTHONPATH"}
    surroundings |= {"HF_HOME": str(tmp_path / "home"), "PYTHONNOUSERSITE": "1"}
    missing = subprocess.run(
        [elsewhere, "-c", "import reclm_hf"],
        env=surroundings,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "No module named 'reclm_hf'" in missing.stderr

    done = subprocess.run(
        [elsewhere, "-c", PROGRAM, pushed.repo_id, pushed.revision, str(tmp_path / "saved"), block],
        env=surroundings,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    expected = model.recommend(["user-07", "user-08"], k=5)
    assert found["items"] == expected.item_ids
    np.testing.assert_allclose(found["scores"], expected.scores, atol=1e-6)
    assert found["similar"] == model.recommend_for_history(["001", "003"], k=5).item_ids
    assert found["said"].rstrip("\n") == model.recommend(model.catalog.user_ids[:1], k=5).to_frame().to_string()
    assert found["module"].startswith("transformers_modules.")
    assert pushed.revision in found["module"]
    assert "trust_remote_code=True" in found["refused"]
    assert "pip install reclm-hf" in found["advice"]
    assert found["again"] == "new"
    assert code <= {path.name for path in (tmp_path / "saved").iterdir()}
    # What was saved there is an ordinary recommender here.
    assert RecLMRecommender.from_pretrained(tmp_path / "saved").catalog.item_ids[-1] == "new"


def hub_file(pushed: Pushed, name: str) -> str:
    from huggingface_hub import hf_hub_download

    return str(hf_hub_download(pushed.repo_id, name, revision=pushed.revision))


def test_with_the_package_its_own_classes_are_used(hub: LoopbackHub, tmp_path: Path) -> None:
    """Code from a repository is not run where nobody asked for it."""
    from transformers import AutoModel

    import reclm_hf.auto  # noqa: F401 (registers the classes)

    untrained(*KIND).save_pretrained(tmp_path / "model")
    pushed = push(tmp_path / "model", f"{hub.namespace}/with-code", PushOptions(code=True), progress=False)
    assert isinstance(pushed, Pushed)
    assert type(AutoModel.from_pretrained(pushed.repo_id)) is RecLMRecommender
    assert type(RecLMRecommender.from_pretrained(pushed.repo_id)) is RecLMRecommender
    asked = {request.path.rsplit("/", 1)[1] for request in hub.requests if "/resolve/" in request.path}
    assert not {name for name in asked if name.endswith(".py")}
