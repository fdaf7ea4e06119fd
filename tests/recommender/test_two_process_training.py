"""Two CPU processes under `accelerate launch` that share every batch train what one process trains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.recommender.two_process_training import KINDS, name_of

ROOT = Path(__file__).parents[2]
TRAIN, PART = ROOT / "training" / "train.py", ROOT / "tests" / "recommender" / "two_process_training.py"

# `--cpu --num_processes 2` would start one process: accelerate leaves several on a CPU to MPI. `--multi_gpu` starts
# them whether there are GPUs or not, and the scripts leave those alone.
LAUNCH = (
    *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
    *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"),
)
kinds = pytest.mark.parametrize("kind", KINDS, ids=name_of)
pytestmark = pytest.mark.slow


def ran(*command: object, home: Path | None = None) -> str:
    own = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    if home is not None:
        own["XDG_CACHE_HOME"] = str(home)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ACCELERATE_", "FSDP_"))}
    found = subprocess.run(
        [str(part) for part in command], cwd=ROOT, env=clean | own, capture_output=True, text=True, timeout=500
    )
    assert found.returncode == 0, found.stderr[-3000:]
    return found.stdout


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`one` and `two`: what one process and two have trained."""
    folder = tmp_path_factory.mktemp("runs")
    for name, launch in (("one", (sys.executable,)), ("two", LAUNCH)):
        (folder / name).mkdir()
        ran(*launch, PART, folder / name)
    return folder


def seen(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def weights(folder: Path, name: str) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / f"{name}.safetensors")


@kinds
def test_two_processes_have_the_losses_of_one(kind: tuple[str, ...], runs: Path) -> None:
    one = seen(runs / "one", f"{name_of(kind)}-0")
    both = [seen(runs / "two", f"{name_of(kind)}-{rank}") for rank in (0, 1)]
    assert both[0]["losses"] == both[1]["losses"], "each knows the loss of the whole batch"
    assert both[0]["losses"] == pytest.approx(one["losses"], rel=1e-5)
    assert one["losses"][1] < one["losses"][0]


@kinds
def test_two_processes_end_with_the_weights_of_one(kind: tuple[str, ...], runs: Path) -> None:
    one = weights(runs / "one", f"{name_of(kind)}-0")
    main, other = (weights(runs / "two", f"{name_of(kind)}-{rank}") for rank in (0, 1))
    for name, weight in one.items():
        assert torch.equal(main[name], other[name]), name
        if name == "project_text.2.bias" and kind[0] in ("bias_mf", "ncf") and kind[1] == "standard":
            continue  # its gradients of positives and negatives cancel: Adam makes steps of what rounding leaves
        torch.testing.assert_close(main[name], weight, atol=1e-4, rtol=1e-4, msg=lambda said, at=name: f"{at}: {said}")


@kinds
def test_one_process_writes_checkpoints_and_removes_them(kind: tuple[str, ...], runs: Path) -> None:
    main, other = (seen(runs / "two", f"{name_of(kind)}-{rank}") for rank in (0, 1))
    assert main["saved"] == seen(runs / "one", f"{name_of(kind)}-0")["saved"] > 0
    assert other["saved"] == 0
    assert not list((runs / "two" / name_of(kind)).iterdir())


def test_both_processes_choose_the_same_epoch(runs: Path) -> None:
    main, other, one = seen(runs / "two", "choose-0"), seen(runs / "two", "choose-1"), seen(runs / "one", "choose-0")
    assert main == other
    assert main["best_epoch"] == one["best_epoch"]
    assert main["values"] == pytest.approx(one["values"], abs=0.02), "a tie may fall otherwise"


def test_a_last_batch_with_fewer_rows_than_processes(tmp_path: Path) -> None:
    for name, launch in (("one", (sys.executable,)), ("two", LAUNCH)):
        (tmp_path / name).mkdir()
        ran(*launch, PART, tmp_path / name, "last")
    for kind in (kind for kind in KINDS if kind[1] == "standard"):
        losses = [seen(tmp_path / name, f"{name_of(kind)}-0")["losses"] for name in ("one", "two")]
        assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def save_encoder(folder: Path) -> None:
    """A random BERT of one layer that splits at spaces."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "alpha", "beta", "story", "number", *(f"{item:03d}" for item in range(50))]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config: Any = BertConfig.from_dict({"vocab_size": len(words), "max_position_embeddings": 64, **sizes})
    BertModel(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)


def test_the_script_alone_and_launched(tmp_path: Path) -> None:
    from reclm_hf.data.folder import write_dataset
    from tests.checkerboard import checkerboard

    data = checkerboard()[0].data
    write_dataset(data, tmp_path / "data")
    save_encoder(tmp_path / "encoder")
    found = {}
    for name, launch in (("one", (sys.executable,)), ("two", LAUNCH)):
        given = ("--data", tmp_path / "data", "--encoder", tmp_path / "encoder", "--output", tmp_path / name)
        said = ran(*launch, TRAIN, *given, "--backbone", "simgcl", "--use-cpu", "--json", home=tmp_path / "cache")
        assert said.count('"model"') == 1, "one process speaks"
        found[name] = json.loads(said[said.index("{\n") :])
        assert {path.name for path in (tmp_path / name).iterdir()} >= {"model", "training.json"}
        assert not list((tmp_path / name).rglob("checkpoint*"))
        assert json.loads((tmp_path / name / "training.json").read_text())["processes"] == len(found)
    one, two = found["one"], found["two"]
    assert one["epochs"] == two["epochs"]
    losses = [[entry["loss"] for entry in result["history"]] for result in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    tables = [weights(tmp_path / name / "model", "model") for name in ("one", "two")]
    assert tables[0].keys() == tables[1].keys()
