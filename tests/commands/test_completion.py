"""Completion scripts: what bash really offers, and that the others know the same commands."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reclm_hf.commands.arguments import leaves
from reclm_hf.commands.completion import commands
from reclm_hf.commands.main import COMMANDS, build_parser, main
from tests.test_import_cost import LIMIT_SECONDS, cpu_seconds_of

_BASH = shutil.which("bash")


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What `reclm completion SHELL` prints."""
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.fixture
def in_bash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder to complete in, with a script that prints what is offered after the words it is given."""
    if _BASH is None:
        pytest.skip("there is no bash")
    (tmp_path / "reclm.bash").write_text(script("bash", capsys))
    (tmp_path / "offer.sh").write_text(
        'source ./reclm.bash\nCOMP_WORDS=("$@")\nCOMP_CWORD=$(($# - 1))\n_reclm\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    (tmp_path / "my data").mkdir()
    (tmp_path / "ids.txt").touch()
    return tmp_path


def offered(folder: Path, *words: str) -> set[str]:
    """What Tab offers for the last of the words."""
    command = [str(_BASH), "--norc", "offer.sh", "reclm", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return set(done.stdout.split("\n")) - {""}


def test_bash_completes_commands_options_choices_and_files(in_bash: Path) -> None:
    assert offered(in_bash, "") == set(COMMANDS)
    assert offered(in_bash, "re") == {"reward", "refine", "recommend", "reproduce"}
    assert offered(in_bash, "data", "") == {"import", "describe"}
    assert offered(in_bash, "train", "--backbone", "s") == {"sgl", "simgcl"}
    assert offered(in_bash, "train", "--backbone", "=", "n") == {"ncf"}
    assert offered(in_bash, "train", "--back") == {"--backbone"}
    assert {"--json", "--quiet", "--cut", "--min-interactions"} <= offered(in_bash, "profiles", "build", "-")
    assert offered(in_bash, "completion", "") == {"bash", "zsh", "fish"}
    assert offered(in_bash, "train", "--profiles", "") == {"my data"}, "folders only"
    assert offered(in_bash, "recommend", "model", "--history", "i") == {"ids.txt"}
    assert offered(in_bash, "train", "--seed", "") == set(), "a number can be anything"
    assert offered(in_bash, "train", "--name", "my") == set(), "a name is no file"
    assert "ids.txt" in offered(in_bash, "data", "import", "")
    assert offered(in_bash, "reproduce", "--backbones", "bias_mf", "n") == {"ncf"}, "a second value of the same"
    assert "my data" in offered(in_bash, "reproduce", "--backbones", "ncf", "--seeds", "2", ""), "another flag ended it"
    for words in (("sft", "--schedule"), ("profiles", "build", "--revision"), ("push", "--title")):
        assert offered(in_bash, *words, "i") == set(), words


def test_a_value_that_is_called_like_a_command_is_none(in_bash: Path) -> None:
    assert "--backbone" in offered(in_bash, "train", "--name", "demo", "--")


def test_fish_knows_a_command_by_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    text = script("fish", capsys)
    assert "__fish_seen_subcommand_from" not in text, "true of `train --name demo` for the demo, too"
    assert "complete -c reclm -n '__reclm_at data' -a import " in text
    assert "complete -c reclm -n '__reclm_at data import' -l delimiter " in text
    case = next(line for line in text.splitlines() if line.startswith("            case "))
    assert all(f"'{words}'" in case for words in (" data", "data import", " train"))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_and_option_is_known(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = script(shell, capsys)
    for command in commands(build_parser()):
        for flag in command.options:
            assert (flag if shell != "fish" else f" -{'l' if flag[:2] == '--' else 's'} {flag.lstrip('-')}") in text
        assert all(name in text for name in command.children)
    assert "\x1b" not in text


def test_the_tree_has_every_leaf() -> None:
    parser = build_parser()
    found = {command.path for command in commands(parser) if not command.children}
    assert found == {leaf.prog.removeprefix("reclm ") for leaf in leaves(parser)}


def test_json_holds_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    text = script("fish", capsys)
    assert main(["completion", "fish", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["script"] == text


def test_a_quote_in_a_help_text_ends_no_string(capsys: pytest.CaptureFixture[str]) -> None:
    for line in script("fish", capsys).splitlines():
        assert line.replace("\\\\", "").replace("\\'", "").count("'") % 2 == 0, line


def test_it_is_printed_within_a_second(child_environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "reclm_hf.commands.main", "completion", "bash"]
    assert min(cpu_seconds_of(command, child_environment)[0] for _ in range(3)) < LIMIT_SECONDS
