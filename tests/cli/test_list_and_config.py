"""`clan-tf list` and `clan-tf config`: what there is to choose from, by words and as JSON."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from clan_tf.cli.main import app, run
from clan_tf.config import SOURCES, Experiment, load_experiment, shipped_configs, shipped_presets
from clan_tf.config.backbones import known_backbones


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return result.stdout


def document(*arguments: str) -> Any:
    return json.loads(printed(*arguments, "--json"))


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("backbones", list(known_backbones())),
        ("configs", list(shipped_configs())),
        ("presets", list(shipped_presets())),
        ("sources", list(SOURCES)),
    ],
)
def test_lists_name_everything_that_there_is(what: str, names: list[str]) -> None:
    assert names and [row["name"] for row in document("list", what)] == names
    text = printed("list", what)
    assert [name for name in names if name not in text] == []


@pytest.mark.parametrize("arguments", [["list", "backbones"], ["config", "keys"], ["config", "show", "demo"]])
def test_lists_and_configs_start_no_tensorflow(arguments: list[str]) -> None:
    code = (
        "import sys; from clan_tf.cli.main import app; app(sys.argv[1:], standalone_mode=False); "
        "print([name for name in ('tensorflow', 'keras', 'numpy') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--json"], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) and done.stderr == "[]\n"


def test_a_backbone_is_listed_with_what_it_needs_and_gives() -> None:
    rows = {row["name"]: row for row in document("list", "backbones")}
    assert rows["vgg16_bn"] == {
        "name": "vgg16_bn",
        "parameters": 14_723_136,  # as in the paper's Table 5
        "imagenet": None,
        "preprocessing": "torch",
        "mid": {"2": ["conv5_2"], "3": ["conv4_3", "conv5_2"]},
    }
    assert rows["resnet50"]["imagenet"] == "Keras"


def test_a_config_is_listed_with_its_title_and_the_values_that_matter_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "resnet50").write_text("name: another", encoding="utf-8")
    rows = {row["name"]: row for row in document("list", "configs")}
    assert rows["resnet50"] == {
        "name": "resnet50",
        "title": "2-scale CLAN on ResNet-50.",
        "source": "cub",
        "backbone": "resnet50",
        "weights": "imagenet",
        "image_size": 448,
        "epochs": 120,
    }


@pytest.mark.parametrize("files", [shipped_configs(), shipped_presets()])
def test_every_shipped_config_has_a_title_and_is_valid(files: dict[str, Any]) -> None:
    for name, file in files.items():
        title, *rest = file.read_text(encoding="utf-8").splitlines()
        assert title.startswith("# ") and title.endswith("."), name
        Experiment.model_validate(yaml.safe_load("\n".join(rest)))


def test_a_shown_config_is_complete_and_is_the_same_config(tmp_path: Path) -> None:
    overrides = ["--set", "training.epochs=3", "--set", "data.root=photos"]
    file = tmp_path / "shown.yaml"
    file.write_text(printed("config", "show", "resnet50", *overrides), encoding="utf-8")
    experiment = load_experiment("resnet50", ["training.epochs=3", "data.root=photos"])
    assert load_experiment(file) == experiment
    shown = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert shown == document("config", "show", "resnet50", *overrides) == experiment.model_dump(mode="json")


def test_keys_are_those_of_an_experiment_with_its_defaults() -> None:
    rows = {row["key"]: row for row in document("config", "keys")}
    defaults = Experiment().flat()
    named = {
        key.partition("generated_photos.")[0] + "generated_photos" * ("generated_photos." in key): key
        for key in defaults
    }
    assert set(rows) - set(named) == {
        "training.loss_weight_schedules.BRANCH.start",
        "training.loss_weight_schedules.BRANCH.epochs",
    }
    assert set(named) <= set(rows)
    assert [key for key, row in rows.items() if key in defaults and row["default"] != defaults[key]] == []
    assert all(row["type"] and row["description"].endswith(".") for row in rows.values())
    assert [key for key, row in rows.items() if row["required"]] == sorted(set(rows) - set(named), reverse=True)


def test_a_section_gives_its_keys_and_those_nested_in_it() -> None:
    every = [row["key"] for row in document("config", "keys")]
    for section in ("training", "training.schedule", "data.augmentation"):
        assert [row["key"] for row in document("config", "keys", section)] == [
            key for key in every if key.startswith(f"{section}.")
        ]
    (row,) = document("config", "keys", "training.schedule.kind")
    assert row["choices"] == ["constant", "step", "exponential", "cosine"] and row["default"] == "step"
    text = printed("config", "keys", "training.schedule")
    assert '  training.schedule.kind  constant, step, exponential, cosine  [default: "step"]\n' in text
    assert printed("config", "keys", "training.loss_weight_schedules").count("[required]") == 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["config", "keys", "trainng"], "received 'trainng'. Did you mean training? Sections are: data,"),
        (["config", "keys", "schedule.kind"], "Did you mean training.schedule.kind?"),
        (["config", "keys", "training."], "SECTION: must be a section or a key of a config"),
        (["config", "keys", ""], "received ''"),
        (["config", "show", "resnet5"], "Did you mean resnet50?"),
        (["config", "show", "demo", "--set", "training.epoch=3"], "Did you mean training.epochs?"),
        (["config", "show", "demo", "--set", "training.epochs=-3", "--json"], "received -3"),
    ],
)
def test_a_mistake_gets_one_message_on_stderr(
    arguments: list[str], expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["clan-tf", *arguments])
    with pytest.raises(SystemExit) as caught:
        run()
    answer = capsys.readouterr()
    assert caught.value.code == 2 and answer.out == ""
    assert expected in answer.err and "Traceback" not in answer.err
