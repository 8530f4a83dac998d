"""Completion in shells: what is offered, and the message where it can't be installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import shellingham

from clan_tf.cli.completion import complete_override
from clan_tf.cli.main import run
from clan_tf.config import SOURCES, shipped_configs
from clan_tf.config.backbones import known_backbones
from clan_tf.config.reference import sections_with_keys

CLAN_TF = Path(sys.executable).with_name("clan-tf")


def completed(*words: str, shell: str = "bash") -> list[str]:
    """The lines that a shell gets for the last of these words."""
    environment = {
        "COMP_WORDS": "\n".join(["clan-tf", *words]),
        "COMP_CWORD": str(len(words)),
        "_TYPER_COMPLETE_ARGS": " ".join(["clan-tf", *words]),
        "_CLAN_TF_COMPLETE": f"complete_{shell}",
    }
    done = subprocess.run([CLAN_TF], env=os.environ | environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines() if done.stdout.strip() else []


def test_names_of_configs_are_completed_where_a_config_is_expected() -> None:
    assert completed("train", "") == list(shipped_configs())
    assert completed("data", "pack", "resnet50") == [name for name in shipped_configs() if name.startswith("resnet50")]
    assert completed("evaluate", "RUN", "--config", "strong") == ["strong_resnet50"]
    assert completed("train", "my") == []  # so that the shell offers files


def test_sections_are_completed_and_their_keys_after_the_dot() -> None:
    assert completed("config", "keys", "training") == [
        "training",
        "training.schedule",
        "training.loss_weight_schedules.BRANCH",
    ]
    assert completed("config", "keys", "training.schedule.") == [
        f"training.schedule.{key}" for key in ("kind", "factor", "every")
    ]


def test_keys_and_their_values_are_completed_after_set() -> None:
    assert completed("train", "--set", "model.spatial_p") == ["model.spatial_pooling="]
    assert completed("train", "model.spatial_p") == ["model.spatial_pooling="]
    assert completed("train", "--preset", "f") == ["fast"]
    assert completed("train", "--backbone", "efficientnet_lite") == [f"efficientnet_lite{n}" for n in range(3)]
    assert completed("train", "--set", "model.backbone=resnet") == [
        f"model.backbone={name}" for name in known_backbones() if name.startswith("resnet")
    ]
    for key, values in (
        ("data.source", list(SOURCES)),
        ("data.flip", ["true", "false"]),
        ("training.cluster", ["auto", "slurm"]),
        ("training.epochs", []),
        ("training.epoch", []),
    ):
        assert [value for value, _ in complete_override(f"{key}=")] == [f"{key}={value}" for value in values]


def test_keys_of_a_trained_model_are_those_of_its_data() -> None:
    assert completed("evaluate", "run", "--set", "data.ro") == ["data.root="]
    assert completed("evaluate", "run", "--set", "model.b") == []


def test_zsh_gets_a_short_line_beside_each_value_and_no_code() -> None:
    for words in (
        ("train", "--set", "data."),
        ("train", "--set", "data.source="),
        ("train", ""),
        ("config", "keys", "t"),
    ):
        lines = completed(*words, shell="zsh")
        assert all(line.count('":"') == 1 and len(line) < 200 for line in lines), lines
        assert "`" not in "".join(lines)


def test_every_key_can_be_completed_and_stays_readable() -> None:
    paths = {key.path for name, (_, keys) in sections_with_keys().items() if "BRANCH" not in name for key in keys}
    offered = dict(complete_override(""))
    assert set(offered) == {f"{path}=" for path in paths}
    assert all(0 < len(text) <= 70 for text in offered.values())


@pytest.mark.parametrize("option", ["--install-completion", "--show-completion"])
@pytest.mark.parametrize(("shell", "said"), [("dash", "this is dash"), (None, "can't be recognised")])
def test_in_another_shell_a_message_says_where_completion_works(
    option: str,
    shell: str | None,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def detect() -> tuple[str, str]:
        if shell is None:
            raise shellingham.ShellDetectionFailure
        return shell, f"/bin/{shell}"

    monkeypatch.setattr(shellingham, "detect_shell", detect)
    monkeypatch.setattr(sys, "argv", ["clan-tf", option])
    with pytest.raises(SystemExit) as caught:
        run()
    answer = capsys.readouterr()
    assert (caught.value.code, answer.out) == (2, "")
    assert (
        answer.err.startswith(f"clan-tf: {option}: must be run in bash, zsh, fish or powershell") and said in answer.err
    )


def test_bash_accepts_the_script_and_completes_with_it(tmp_path: Path) -> None:
    code = f"""
        eval "$({CLAN_TF} --show-completion)"
        COMP_WORDS=({CLAN_TF} list ba) COMP_CWORD=2
        _clan_tf_completion {CLAN_TF}
        echo "${{COMPREPLY[@]}}"
        {CLAN_TF} --install-completion
    """
    environment = os.environ | {"HOME": str(tmp_path)}
    done = subprocess.run(["bash", "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "backbones"
    assert (tmp_path / ".bash_completions" / "clan-tf.sh").is_file()
    assert "clan-tf.sh" in (tmp_path / ".bashrc").read_text(encoding="utf-8")
