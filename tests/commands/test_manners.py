"""Manners of the command line, with real processes: interruptions, terminals and pipes, `--quiet`, `--json`."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from reclm_hf.commands import progress
from reclm_hf.commands.main import main
from reclm_hf.commands.progress import bars
from reclm_hf.commands.stopping import KEPT, stoppable
from reclm_hf.data.folder import write_dataset
from tests.checkerboard import checkerboard
from tests.data.trainable_release import Encoder, brief, write_trainable

RECLM = [sys.executable, "-m", "tests.commands.slow_reclm"]
TRAIN = ["train", "data", "--backbone", "bias_mf", "--preset", "standard", "--name"]
ESCAPE = "\x1b"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
PATIENCE = 180  # seconds; a busy machine is no failure

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and terminals are POSIX's")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder but for `data`, a tiny data set; the working directory."""
    monkeypatch.chdir(tmp_path)
    write_dataset(checkerboard()[0].data, tmp_path / "data", {})
    return tmp_path


@pytest.fixture
def stand_in(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `slow_reclm` sets, in this process, without its sleep."""
    monkeypatch.setattr("reclm_hf.recommender.text_encoder.TextEncoder", Encoder)
    monkeypatch.setattr("reclm_hf.pipeline.runs.trainer_options", brief)


@contextmanager
def started(
    command: list[str], folder: Path, environment: dict[str, str], sleep: float = 0.1
) -> Iterator[subprocess.Popen[str]]:
    """A process with pipes, the first of its group; whatever happens, nothing of the group is left."""
    environment = {**environment, "RECLM_TEST_SLEEP": str(sleep)}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=folder, env=environment, text=True, start_new_session=True, **streams) as child:  # type: ignore[call-overload]
        try:
            yield child
        finally:
            if group_lives(child.pid):
                os.killpg(child.pid, signal.SIGKILL)


def until(said: Callable[[], bool], child: subprocess.Popen[str]) -> None:
    """Wait for something that a process does."""
    deadline = time.monotonic() + PATIENCE
    while not said():
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def group_lives(number: int) -> bool:
    """Whether a process of the group is left."""
    try:
        os.killpg(number, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.usefixtures("stand_in")
def test_an_interrupted_training_goes_on_and_ends_like_any_other(
    data: Path, child_environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, choice = (data / "runs/my run" / name for name in ("choose/checkpoint.safetensors", "choice.json"))
    written = 0
    for number, word, code in ((signal.SIGINT, "interrupted", 130), (signal.SIGTERM, "terminated", 143)):
        with started([*RECLM, *TRAIN, "my run"], data, child_environment) as child:
            until(partial(_is_newer, checkpoint, written), child)
            child.send_signal(number)
            out, err = child.communicate(timeout=PATIENCE)
        assert child.returncode == code
        assert out == ""
        assert err.splitlines()[-2:] == [
            f"reclm: {word}. Kept: {KEPT['train']}.",
            f"Go on with: {shlex.join([*RECLM, *TRAIN, 'my run'])}",
        ]
        assert "Traceback" not in err
        _not_drawn_over(err)
        assert not choice.exists(), "it was not finished"
        written = checkpoint.stat().st_mtime_ns
    (checkpoint.parent / ".checkpoint.safetensors-half").touch()  # as a process leaves it that is killed there
    for name in ("my run", "whole"):
        assert main([*TRAIN, name]) == 0
        done = capsys.readouterr()
        assert f"Next: {shlex.join(['reclm', 'evaluate', f'runs/{name}/model', '--data', 'data'])}\n" in done.out
        _not_drawn_over(done.out + done.err)
    assert not list((data / "runs").rglob(".*")), "nothing half-written is left"
    models = [data / "runs" / name / "model/model.safetensors" for name in ("my run", "whole")]
    assert models[0].read_bytes() == models[1].read_bytes()
    histories = [
        json.loads((data / "runs" / name / "choice.json").read_text())["history"] for name in ("my run", "whole")
    ]
    assert histories[0] == histories[1]


def _is_newer(path: Path, than: int) -> bool:
    return path.is_file() and path.stat().st_mtime_ns > than


def _not_drawn_over(text: str) -> None:
    assert "\r" not in text, "no line is drawn twice in a pipe"
    assert ESCAPE not in text


def test_a_second_interruption_ends_at_once(child_environment: dict[str, str]) -> None:
    program = (
        "import time\nfrom reclm_hf.commands.stopping import stoppable\n"
        "with stoppable():\n    try:\n        print('ready', flush=True)\n        time.sleep(600)\n"
        "    finally:\n        print('cleaning', flush=True)\n        time.sleep(600)"
    )
    with started([sys.executable, "-c", program], Path(), child_environment) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == "cleaning\n"
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=PATIENCE) == -signal.SIGINT


def test_what_a_shell_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stoppable():
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, before)


def _to_all(child: subprocess.Popen[str]) -> None:
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does


def _to_one(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGTERM)


def _killed(child: subprocess.Popen[str]) -> None:
    child.kill()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "code"),
    [
        pytest.param(_to_all, 130, id="Ctrl-C"),
        pytest.param(_to_one, 143, id="SIGTERM to the parent"),
        pytest.param(_killed, -9, id="SIGKILL to the parent"),
    ],
)
def test_processes_that_train_end_with_their_parent(
    tmp_path: Path, child_environment: dict[str, str], end: Callable[[subprocess.Popen[str]], None], code: int
) -> None:
    write_trainable(tmp_path / "mind")
    command = ["reproduce", "mind", "--backbones", "bias_mf", "--seeds", "2", "--epochs", "5000", "--jobs", "2"]
    models = tmp_path / "runs/reproduce/models"
    with started([*RECLM, *command], tmp_path, child_environment) as child:
        until(lambda: len(list(models.glob("*/refit/checkpoint.safetensors"))) == 2, child)
        end(child)
        out, err = child.communicate(timeout=PATIENCE)
        deadline = time.monotonic() + 20
        while group_lives(child.pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not group_lives(child.pid), "a process trains on for nobody"
    assert child.returncode == code
    assert "Traceback" not in err
    if code > 0:
        assert out.splitlines() == ["mind: 40 users, 30 items"]
        assert err.splitlines()[-1] == f"Go on with: {shlex.join([*RECLM, *command])}"


def test_a_terminal_shows_rate_and_time_left_and_no_colour(data: Path, child_environment: dict[str, str]) -> None:
    import pty
    import termios

    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    command, environment = [*RECLM, *TRAIN, "shown"], {**child_environment, "RECLM_TEST_SLEEP": "0.02", "TERM": "xterm"}
    with subprocess.Popen(command, cwd=data, env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as child:
        os.close(theirs)
        text = _read_terminal(ours)
        assert child.wait(timeout=PATIENCE) == 0
    drawn = [line for line in text.split("\r") if line.startswith("choosing epochs:")]
    assert len(drawn) > 2, text
    assert all("epoch" in line for line in drawn[1:])
    assert re.search(r"\d\d:\d\d<\d\d:\d\d, +[\d.]+(s/epoch|epoch/s), loss=", drawn[-1]), drawn[-1]
    assert COLOUR.search(text) is None
    assert "Next: reclm evaluate" in text


def _read_terminal(number: int) -> str:
    parts = []
    try:
        while part := os.read(number, 65536):
            parts.append(part)
    except OSError:  # Linux's word for the end of a terminal
        pass
    os.close(number)
    return b"".join(parts).decode()


def test_in_a_pipe_a_bar_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.0)
    with bars():
        _count()
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"rows: 3 of 3, 00:00 gone, 00:00 left, .*row/s", lines[-1]), lines
    assert len(lines) == 4, "the start, and every row"
    monkeypatch.setattr(progress, "EVERY", 30.0)
    with bars():
        _count()
    assert capsys.readouterr().err == "", "nothing lasts for 30 seconds here"


def test_a_bar_that_was_told_of_is_told_to_its_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.0)
    with bars():
        from tqdm.auto import tqdm

        with tqdm(total=3, desc="rows", unit="row", mininterval=0, miniters=1) as bar:
            bar.update()
            monkeypatch.setattr(bar, "said", math.inf)  # no line is due any more
            bar.update(2)
    lines = [line.split(",")[0] for line in capsys.readouterr().err.splitlines()]
    assert lines == ["rows: 0 of 3", "rows: 1 of 3", "rows: 3 of 3"]


def test_quiet_silences_even_bars_that_insist(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with bars(quiet=True):
        _count()
    assert capsys.readouterr().err == ""
    with bars():
        _count()
    assert "\r" in capsys.readouterr().err


def _count() -> None:
    from tqdm.auto import tqdm

    for _ in tqdm(range(3), desc="rows", unit="row", mininterval=0, miniters=1, disable=False):
        pass


def test_bars_of_the_libraries_are_silent_in_a_pipe(child_environment: dict[str, str]) -> None:
    program = (
        "from reclm_hf.commands.progress import bars\n"
        "with bars():\n"
        "    from datasets.utils import tqdm as first\n    from huggingface_hub.utils import tqdm as second\n"
        "    from transformers.utils.logging import tqdm as third\n"
        "    for bar in (first, second, third):\n        list(bar(range(3), disable=False, mininterval=0))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=child_environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == done.stdout == ""


@pytest.mark.usefixtures("stand_in")
def test_quiet_prints_the_result_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TRAIN, "toy", "--quiet"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "bias_mf-standard-none trained on checkerboard: runs/toy/model\n"
    assert printed.err == ""
    assert main(["train", "nowhere", "--quiet"]) == 2
    assert capsys.readouterr().err.startswith("reclm: error: ")


@pytest.mark.usefixtures("stand_in", "brief_floors")
def test_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    commands = [
        ["data", "describe", "data", "--no-text-signal"],
        [*TRAIN, "toy"],
        ["recommend", "runs/toy/model", "user-00"],
        ["recommend", "runs/toy/model", "--all", "--output", "lists.parquet"],
        ["recommend", "runs/toy/model", "--similar", "003"],
        ["evaluate", "runs/toy/model", "--data", "data"],
        ["completion", "zsh"],
    ]
    for command in commands:
        assert main([*command, "--json"]) == 0, command
        found = json.loads(capsys.readouterr().out)
        assert isinstance(found, dict), command
        assert found["next"], command
