"""The arguments of an experiment: a folder, a preset, short options and bare values."""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from clan_tf.cli.experiment import ExperimentArguments, as_yaml
from clan_tf.cli.main import app
from clan_tf.config import load_experiment
from clan_tf.errors import UserError
from clan_tf.text import printable

runner = CliRunner()
PATH_METAVARS = ("D", "FILE", "FOLDER", "RUN", "MODEL", "CONFIG", "S")
"""Names of the values of options and arguments that are paths."""


def verbs(group: Any = None, *words: str) -> Iterator[tuple[str, Any]]:
    """Every command, by the words that run it."""
    for name, command in (group or get_command(app)).commands.items():
        if hasattr(command, "commands"):
            yield from verbs(command, *words, name)
        else:
            yield " ".join([*words, name]), command


def read(words: str) -> ExperimentArguments:
    """What `config show` would read; a command whose only other option is `--json`."""
    command = get_command(app).commands["config"].commands["show"]  # type: ignore[attr-defined]
    options = command.make_context("show", shlex.split(words)).params
    return ExperimentArguments.read(options)


def test_short_options_bare_values_and_set_say_the_same() -> None:
    short = read("demo --backbone tiny --epochs 3 --batch-size 8 --learning-rate 0.1 --init run")
    keys = ["model.backbone=tiny", "training.epochs=3", "training.batch_size=8", "training.learning_rate=0.1"]
    bare = read(" ".join(["demo", *keys, "model.init=run", "model.weights=none"]))
    with_set = read(" ".join(["demo", *(f"--set {key}" for key in [*keys, "model.init=run", "model.weights=none"])]))
    assert bare == with_set
    assert short.load() == bare.load().model_copy(
        update={"model": bare.load().model.model_copy(update={"weights": "imagenet"})}
    )


def test_the_size_option_lets_the_size_before_cropping_follow() -> None:
    assert read("demo --image-size 128").load().data.full_size == 146
    assert read("demo --image-size 128 data.resize_size=130").load().data.full_size == 130


def test_words_give_the_same_experiment_again() -> None:
    first = read("demo --preset fast --epochs 3 data.flip=false")
    assert read(shlex.join(first.words)).load() == first.load()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("demo --epochs 3 training.epochs=5", "--epochs 3 and training.epochs=5 contradict each other"),
        ("demo --image-size 64 --set data.image_size=65", "--image-size 64 and data.image_size=65 contradict"),
        ("demo --epochs 3 'training={epochs: 5}'", "--epochs 3 and training={epochs: 5} contradict each other"),
        ("demo resnet50", "one folder or config is taken; received demo, resnet50"),
        ("", "CONFIG: is missing"),
        ("demo --epochs many", r"training\.epochs: .*received 'many'"),
        ("demo epochs=3", r"epochs: no such key\. Did you mean training\.epochs\?"),
        ("demo --preset fats", "no preset 'fats'"),
        ("nowhere/", "nowhere/: there is no such file or folder"),
    ],
)
def test_a_mistake_gets_one_message(words: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        read(words).load()


def test_the_same_value_twice_is_no_contradiction() -> None:
    assert read("demo --epochs 3 training.epochs=3").load().training.epochs == 3
    assert read("demo --learning-rate 0.1 training.learning_rate=1e-1").load().training.learning_rate == 0.1


def test_a_file_whose_name_looks_like_a_value_is_a_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a=b.yaml").write_text("name: odd\n", encoding="utf-8")
    assert read("a=b.yaml").load().name == "odd"


def test_a_value_may_be_longer_than_names_of_files() -> None:
    note = "x" * 300
    assert read(f"demo data.root={note}").overrides == (f"data.root={note}",)


def test_a_folder_is_shown_as_the_config_it_makes(colour_folders: Path) -> None:
    shown = runner.invoke(app, ["config", "show", str(colour_folders), "--epochs", "2"])
    assert shown.exit_code == 0
    assert yaml.safe_load(shown.stdout)["training"]["epochs"] == 2
    made = shown.stderr.partition("by the preset fast:\n")[2]
    assert yaml.safe_load(made)["model"]["backbone"] == "efficientnet_lite0"


def test_a_folder_is_taken_by_every_verb_that_takes_a_config(colour_folders: Path) -> None:
    checked = runner.invoke(app, ["data", "check", str(colour_folders), "--json"])
    assert checked.stdout.startswith("{") and '"can_start": true' in checked.stdout
    for words in (["train", "--dry-run"], ["summary", "--json"], ["reproduce", "table5", "--plan", "--json"]):
        done = runner.invoke(app, [*words, str(colour_folders), "model.weights=none"])
        assert done.exit_code == 0, (words, done.output, done.exception)


def test_named_data_is_taken_by_every_verb_that_takes_a_config(
    colour_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    key = f"data.root={colour_folders}"
    shown = runner.invoke(app, ["config", "show", key])
    assert shown.stdout == runner.invoke(app, ["config", "show", str(colour_folders)]).stdout
    assert f"config for {colour_folders}, by the preset fast:" in shown.stderr
    for words in (["train", "--dry-run"], ["train", "--dry-run", "--resume", "--run-dir", "new"], ["summary"]):
        done = runner.invoke(app, [*words, key, "model.weights=none"])
        assert "by the preset fast:" in done.stderr, (words, done.output, done.exception)
    checked = runner.invoke(app, ["data", "check", key])
    assert f"clan-tf train {key}" in checked.stdout.replace("\n", "")


def test_keys_that_name_no_data_leave_the_demo() -> None:
    assert read("training.epochs=3").load("demo") == read("demo training.epochs=3").load()
    assert read("data.source=generated").load("demo") == read("demo").load()
    assert read("data.root=photos").load("vgg16_3scale") == read("vgg16_3scale data.root=photos").load()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda root: None, "holds no photos"),
        (lambda root: [(root / f"{n}.jpg").write_bytes(b"\xff\xd8\xff") for n in range(3)], "3 photos and no class"),
        (lambda root: [(root / n).write_text("") for n in ("config.yaml", "status.json")], "is a run directory"),
    ],
)
def test_a_folder_that_is_no_data_set_is_refused(
    make: object, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photos = tmp_path / "photos"
    photos.mkdir()
    make(photos)  # type: ignore[operator]
    done = runner.invoke(app, ["train", str(photos)])
    assert isinstance(done.exception, UserError) and expected in str(done.exception)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("train", "clan-tf train R/config.yaml; or resume it: clan-tf train --run-dir R --resume."),
        ("summary", "clan-tf summary R/config.yaml."),
        ("data check", "clan-tf data check R/config.yaml."),
        ("config show", "clan-tf config show R/config.yaml."),
        ("benchmark train", "clan-tf benchmark train R/config.yaml."),
        ("data pack --output x", "R/config.yaml."),
    ],
)
def test_a_run_in_the_place_of_a_config_gets_advice_for_the_verb(
    words: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("R").mkdir()
    for name in ("config.yaml", "status.json"):
        Path("R", name).touch()
    for given in ("R", "data.root=R"):
        done = runner.invoke(app, [*words.split(), given])
        message = "R: is a run directory, not a folder of photos. Give its config: "
        assert str(done.exception) == message + expected, done.output


@pytest.mark.parametrize(
    ("file", "advice"),
    [
        ("best.keras", "predict with it, or evaluate it; or start from it: --init"),
        ("m.tflite", "evaluate it)"),
        ("m.onnx", "evaluate it)"),
    ],
)
def test_a_model_in_the_place_of_a_config_is_called_one(file: str, advice: str, tmp_path: Path) -> None:
    (tmp_path / file).write_bytes(b"model")
    for words in (["train"], ["summary"], ["config", "show"]):
        done = runner.invoke(app, [*words, str(tmp_path / file)])
        assert isinstance(done.exception, UserError)
        assert f"{file}: is a trained model" in str(done.exception) and advice in str(done.exception)


@pytest.mark.parametrize(
    ("config", "words", "expected"),
    [
        ("data: {image_size: 224, resize_size: 256}", "--preset good data.image_size=300", "resize_size 256 → nothing"),
        ("training: {optimizer: adamw}", "--preset fast training.momentum=0.8", "training.optimizer adamw → sgd"),
        ("training: {momentum: 0.8}", "--preset best", "training.momentum 0.8 → 0.9"),
        ("training: {optimizer: adamw, weight_decay: 0.05}", "--preset good", "training.weight_decay 0.05 → 0.0001"),
        ("training: {layer_decay: 0.7}", "--preset good", "training.layer_decay 0.7 → 1.0"),
        ("model: {backbone: tiny, mid: [a]}", "--preset fast model.architecture=plain", "model.backbone tiny → eff"),
    ],
)
def test_a_preset_may_be_joined_by_values_that_the_config_alone_forbids(
    config: str, words: str, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(config, encoding="utf-8")
    done = runner.invoke(app, ["config", "show", str(path), *words.split()])
    assert done.exit_code == 0, done.exception
    assert "replaces: " in done.stderr and expected in done.stderr


def test_a_preset_names_what_it_alone_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("training: {learning_rate: 5e-3, schedule: {kind: cosine}, seed: 3}\n", encoding="utf-8")
    done = runner.invoke(app, ["config", "show", str(path), "--preset", "fast", "training.epochs=9", "data.root=x"])
    note = done.stderr.replace("\n", " ")
    assert "training.batch_size 36 → 16" in note and "model.weights nothing → imagenet" in note
    assert not any(key in note for key in ("learning_rate", "schedule", "epochs 1", "seed", "root"))


@pytest.mark.parametrize("name", ["rtl\u200e", "-dash", "a # b", "two  blanks", "it's", "~", "no", "\u202e\u0442"])
def test_a_shown_config_reads_the_same_folder(
    name: str, colour_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).symlink_to(colour_folders)
    arguments = ExperimentArguments(name, (f"data.root={name}",), None)
    shown = runner.invoke(app, ["config", "show", "demo", f"data.root={as_yaml(f'./{name}')}"])
    Path("my.yaml").write_text(shown.stdout, encoding="utf-8")
    assert load_experiment("my.yaml").data.root == os.path.realpath(colour_folders)
    assert printable(shown.stdout, keep="\n") == shown.stdout
    assert read(shlex.join(arguments.words)).config == (f"./{name}" if name.startswith("-") else name)


def test_the_home_folder_is_found_in_every_option_that_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    expanded = 0
    for words, command in verbs():
        for param in command.params:
            if param.metavar not in PATH_METAVARS or param.nargs == -1:
                continue
            value = param.process_value(command.context_class(command), "~/x y")
            assert value == str(tmp_path / "x y"), (words, param.name)
            expanded += 1
    assert expanded >= 20


@pytest.mark.parametrize(
    "words", ["predict ADDRESS x.jpg", "report run --output ADDRESS", "evaluate run --config ADDRESS"]
)
def test_an_address_is_no_path(words: str) -> None:
    done = runner.invoke(app, words.replace("ADDRESS", "gs://bucket/x").split())
    assert "must be a path; received the address gs://bucket/x" in str(done.exception)
    assert "gs://x: is an address" in str(runner.invoke(app, ["train", "gs://x"]).exception)


def test_an_empty_path_is_a_mistake_named_by_its_argument() -> None:
    """A shell gives an empty text for a variable that isn't set."""
    refused = 0
    for words, command in verbs():
        for param in command.params:
            name = str(param.metavar).partition("|")[0].strip("[]…")
            if name not in (*PATH_METAVARS, "PATH"):
                continue
            with pytest.raises(UserError) as caught:
                param.process_value(command.context_class(command), [""] if param.nargs == -1 else "")
            named = param.opts[0] if param.param_type_name == "option" else name
            assert str(caught.value).startswith(f"{named} is empty."), (words, param.name)
            refused += 1
    assert refused >= 30


@pytest.mark.parametrize("verb", ["evaluate", "calibrate", "export --format onnx", "benchmark exports"])
@pytest.mark.parametrize(
    "value", ["model.backbone=tiny", "database=3", "names=x", "data.image_size=96", "data.augmentation.mixup=1"]
)
def test_keys_without_effect_on_a_trained_model_are_refused(verb: str, value: str) -> None:
    done = runner.invoke(app, [*verb.split(), "run", "--set", "data.root=x", "--set", value])
    assert isinstance(done.exception, UserError)
    assert f"by keys of data; received '{value}', which has no effect" in str(done.exception)
