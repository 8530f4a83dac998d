"""The experiment's files, overrides and error texts."""

import json
import re
from pathlib import Path

import pytest
import yaml

from clan_tf.config import Experiment, load_experiment, shipped_configs
from clan_tf.config.mistakes import _IN_WORDS
from clan_tf.errors import UserError


def test_every_shipped_config_is_valid_and_named_like_its_file() -> None:
    names = shipped_configs()
    assert {"demo", "vgg16_gap", "vgg16_2scale", "vgg16_3scale", "resnet50", "resnet101"} <= set(names)
    for name in names:
        assert load_experiment(name).name == name


@pytest.mark.parametrize("name", ["vgg16_2scale", "vgg16_3scale", "resnet50", "resnet101"])
def test_the_papers_configs_hold_the_papers_recipe(name: str) -> None:
    experiment = load_experiment(name)
    training = experiment.training
    assert (training.epochs, training.batch_size, training.learning_rate) == (120, 36, 0.01)
    assert (training.momentum, training.weight_decay, experiment.data.image_size) == (0.9, 1e-4, 448)
    expected = (0.9, 2) if "resnet" in name else (0.1, 30)
    assert (training.schedule.factor, training.schedule.every) == expected


def test_every_mistake_is_named_at_once_with_the_nearest_valid_name(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("model: {relatoin: gaussian, mid_refinement: clac}\ntraining: {epochs: 0}\n", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_experiment(path, ["data.sorce=cub", "training", "training.seed=[", "data.source=foldres"])
    text = str(caught.value)
    assert "7 mistakes" in text
    for expected in (
        "--set 'training': must be KEY=VALUE",
        "the value isn't YAML",
        "Did you mean folders?",
        "model.relatoin",
        "Did you mean model.relation?",
        "Did you mean clca?",
        "training.epochs",
        "Did you mean data.source?",
    ):
        assert expected in text


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("data.augmentation.mixpu", "data.augmentation.mixup"),
        ("data.mixup", "data.augmentation.mixup"),
        ("epochs", "training.epochs"),
        ("training.image_sise", "data.image_size"),
        ("trainnig", "training"),
    ],
)
def test_an_unknown_key_is_refused_with_the_whole_path_of_the_nearest(key: str, meant: str) -> None:
    with pytest.raises(UserError, match=rf"{key}: no such key. Did you mean {meant}\?"):
        load_experiment("demo", [f"{key}=1"])


@pytest.mark.parametrize("override", ["training.epochs", "=3", "training.epochs=[1"])
def test_a_malformed_override_is_refused(override: str) -> None:
    with pytest.raises(UserError, match="--set"):
        load_experiment("demo", [override])


def test_an_unknown_config_is_refused_with_the_nearest_shipped_one() -> None:
    with pytest.raises(UserError, match="Did you mean resnet50"):
        load_experiment("resnet5")


def test_later_overrides_win_and_none_means_no_weights() -> None:
    experiment = load_experiment("demo", ["training.epochs=2", "training.epochs=3", "model.weights=none"])
    assert experiment.training.epochs == 3
    assert experiment.model.weights is None


def test_scales_that_contradict_mid_are_refused() -> None:
    with pytest.raises(UserError, match="2 layers make 3 scales"):
        load_experiment("demo", ["model.mid=[a, b]", "model.scales=2"])


def test_the_resolved_config_reads_back_as_the_same_experiment(tmp_path: Path) -> None:
    experiment = load_experiment("demo", ["data.root=photos", "model.loss_weights={top: 0.5}"])
    path = tmp_path / "config.yaml"
    path.write_text(experiment.to_yaml(), encoding="utf-8")
    assert load_experiment(path) == experiment
    assert isinstance(experiment, Experiment)


def test_a_key_that_the_optimizer_does_not_use_is_refused() -> None:
    adamw = "training.optimizer=adamw"
    with pytest.raises(UserError, match=r"momentum must be left at 0\.9 with optimizer: adamw.*received 0\.5\. Leave"):
        load_experiment("demo", [adamw, "training.momentum=0.5"])
    assert load_experiment("demo", [adamw, "training.momentum=0.9", "training.layer_decay=0.8"])
    assert load_experiment("demo", ["training.momentum=0.5", "training.layer_decay=0.8"])


@pytest.mark.parametrize("text", ["a: [", "- 1", "model: 3"])
def test_a_file_that_holds_no_experiment_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="x.yaml"):
        load_experiment(path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epochs=999999999999999999999999", "training.epochs: .* less than or equal to 100000; received 9"),
        ("training.batch_size=10000000000", "training.batch_size: .* 65536; received"),
        ("training.accumulation=10000000000", "training.accumulation: .* 65536"),
        ("training.warmup_epochs=1e+30", "training.warmup_epochs: .* 100000"),
        ("training.freeze_epochs=10000000000", "training.freeze_epochs: .* 100000"),
        ("training.early_stopping=10000000000", "training.early_stopping: .* 100000"),
        ("training.schedule.every=.nan", "training.schedule.every: must be a finite number; received nan"),
        ("training.learning_rate=.inf", "training.learning_rate: .*received inf"),
        ("training.momentum=.nan", "training.momentum: .*received nan"),
        ("training.device=gpu:" + "9" * 5000, "training.device: .*200 characters"),
        ("data.generated_photos={train: 10000000000}", "data.generated_photos.train: .* 20000; received 10000000000"),
        ("data.image_size=100000", "data.image_size: .* 4096; received 100000"),
        ("data.resize_size=100000", "data.resize_size: .* 8192"),
        ("data.repeats=10000000000", "data.repeats: .* 1000"),
        ("data.classes=10000000000", "data.classes: .* 100000"),
        ("data.split_seed=" + "9" * 30, "data.split_seed: .*received 9"),
        ("data.augmentation.operations=10000000000", "data.augmentation.operations: .* 100"),
        ("data.augmentation.mixup_alpha=.inf", "data.augmentation.mixup_alpha: must be a finite number"),
        ("data.csv=" + "a" * 5000, "data.csv: has 5,000 characters; at most 4,096"),
        ("data.root=" + "a" * 5000, "data.root: .* 4096 characters"),
        ("model.embed_dim=10000000000", "model.embed_dim: .* 8192"),
        ("model.spatial_kernel_size=100000", "model.spatial_kernel_size: .* 63"),
        ("model.scales=10000000000", "model.scales: .* 17"),
        ("model.mid=[" + "a," * 100 + "]", "model.mid: .*at most 16"),
        ("model.loss_weights={top: 1e+300}", "model.loss_weights.top: .* 1000000"),
        (
            "training.loss_weight_schedules={top: {foo: 1}}",
            "loss_weight_schedules.top.foo: no such key. Valid here: st",
        ),
        ("name=" + "x" * 101, "name: .*100 characters"),
        ("training.epochs=" + "9" * 5000, "the value isn't YAML: a number has 5,000 characters"),
        ("training.epochs=" + "[" * 1000, "the value isn't YAML: lists are nested too deeply"),
        ("a." * 2000 + "b=1", "a key has at most 10 dots"),
    ],
)
def test_values_that_no_machine_takes_are_refused_before_anything_is_made_of_them(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_experiment("demo", [override])
    assert len(str(caught.value)) < 1000


def test_a_config_is_a_regular_text_file_of_a_sensible_size(tmp_path: Path) -> None:
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    (tmp_path / "long.yaml").write_text("#" * 2**21, encoding="utf-8")
    for name, message in (("zero", "isn't a regular file"), ("long", "is too large: 2.1 MB"), (".", "is a folder")):
        with pytest.raises(UserError, match=message):
            load_experiment(tmp_path / (name if name == "." else f"{name}.yaml"))


def test_endless_mistakes_are_counted(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("".join(f"key{index}: 1\n" for index in range(500)), encoding="utf-8")
    with pytest.raises(UserError, match="and 450 more$") as caught:
        load_experiment(tmp_path / "x.yaml")
    assert len(str(caught.value).splitlines()) == 52


NOT_TAKEN_AS_WRITTEN_BY_YAML = [
    "photos #2",
    "a: b",
    "2024",
    "007",
    "2024-05-01",
    "no",
    "~x",
    "*x",
    "&x",
    "!x",
    "%x",
    "@x",
    "`x",
    "{x}",
    "[x]",
    "- x",
    "? x",
    "C:\\x",
    "it's",
    "blank ",
    " blank",
    "x # 'y'",
]


@pytest.mark.parametrize("text", NOT_TAKEN_AS_WRITTEN_BY_YAML)
def test_a_key_that_takes_a_text_takes_it_as_it_stands(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = load_experiment("demo", [f"data.{key}={text}" for key in ("root", "csv", "quarantine")]).data
    assert (data.root, data.csv, data.quarantine) == (str(tmp_path / text), tmp_path / text, tmp_path / text)


def test_null_quotes_and_lists_are_yaml_for_keys_of_texts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_experiment("demo", ["data.root=x", "data.root=null"]).data.root is None
    assert load_experiment("demo", ['data.root="x\\u200e #1"']).data.root == str(tmp_path / "x\u200e #1")
    assert load_experiment("demo", ["data.root = x"]).data.root == str(tmp_path / "x")
    for given, names in (("[rook, '1']", ["rook", "1"]), ("St. Bernard #2", ["St. Bernard #2"]), ("no", ["no"])):
        assert load_experiment("demo", [f"data.unknown_classes={given}"]).data.unknown_classes == names


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epochs=3 #0", "the value ends before its #, which begins a comment"),
        ("data.root='photos' #2", "the value ends before its #"),
        ("data.root='photos", "the value isn't YAML"),
        ("data.group=path: ([a-z]+)", "Leave no space after the colon"),
        ("training={seed: 1, seed: 2}", "the key 'seed' stands twice in one mapping, in line 1"),
        ("training.epochs=true", "training.epochs: .*valid integer.*received 'true'"),
        ("training.epochs=1:30", "training.epochs: .*valid integer.*received '1:30'"),
        ("training.batch_size=true", "training.batch_size: .*valid integer"),
        ("training.learning_rate=no", "training.learning_rate: .*valid number"),
        ("training.ema=true", "training.ema: .*valid number"),
        ("training.class_weights={owl: true}", "training.class_weights.owl: .*valid number"),
        ("training.loss_weight_schedules={top: {start: true, epochs: 1}}", "schedules.top.start: .*valid number"),
        ("data.generated_photos={train: true}", "data.generated_photos.train: .*valid integer"),
        ("data.unknown_classes=[7]", r"unknown_classes.0: .*received 7\. If a text is meant, put it in quotes: '7'"),
        ("data={root: 2024}", r"data.root: .*received 2024\. If a text is meant, put it in quotes: '2024'"),
        ("data={root: no}", "data.root: .*received False. If a text is meant, put it in quotes: 'no'"),
        ("data={csv: 2024-05-01}", r"data.csv: .*put it in quotes: '2024-05-01'"),
    ],
)
def test_what_was_not_meant_is_refused_with_the_way_out(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_experiment("demo", [override])


def test_leading_zeros_are_no_octal_number() -> None:
    assert load_experiment("demo", ["training.batch_size=010"]).training.batch_size == 10
    assert load_experiment("demo", ["training.class_weights={007: 2}"]).training.class_weights == {"007": 2}
    assert load_experiment("demo", ["data.flip=no"]).data.flip is False


def test_a_mapping_for_a_section_sets_its_own_keys_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("training: {epochs: 7, schedule: {kind: cosine, every: 3}}\n", encoding="utf-8")
    overrides = ["training.seed=5", "training={batch_size: 4, schedule: {factor: 0.5}}"]
    training = load_experiment(path, overrides).training
    assert (training.epochs, training.seed, training.batch_size) == (7, 5, 4)
    assert (training.schedule.kind, training.schedule.every, training.schedule.factor) == ("cosine", 3, 0.5)


@pytest.mark.parametrize(
    ("key", "own", "given"),
    [
        ("model.loss_weights", "{top: 2}", {"mid_1": 3.0}),
        ("training.class_weights", "{owl: 2}", {"jay": 3.0}),
        ("data.generated_photos", "{train: 20, val: 10}", {"train": 3}),
    ],
)
def test_a_mapping_of_names_replaces_the_one_before(key: str, own: str, given: dict[str, float]) -> None:
    assert (
        load_experiment("demo", [f"{key}={own}", f"{key}={given}"]).flat().items()
        >= {f"{key}.{name}": value for name, value in given.items()}.items()
    )
    section, name = key.split(".")
    assert load_experiment("demo", [f"{key}={own}", f"{key}={given}"]).model_dump()[section][name] == given


def test_an_architecture_in_a_mapping_leaves_out_what_it_ignores_as_well() -> None:
    experiment = load_experiment("vgg16_3scale", ["model={architecture: plain}"])
    assert experiment == load_experiment("vgg16_3scale", ["model.architecture=plain"])
    assert experiment.model.backbone == "vgg16_bn"


def test_a_folder_as_a_config_says_what_to_give(tmp_path: Path) -> None:
    (tmp_path / "my photos").mkdir()
    with pytest.raises(UserError, match=r"is a folder, where .*clan-tf config show '.*/my photos' > my\.yaml"):
        load_experiment(tmp_path / "my photos")
    with pytest.raises(UserError, match="nowhere: neither a YAML file nor a shipped config"):
        load_experiment("nowhere")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("fotos", r"fotos: neither .* shipped config\. Did you mean photos\? Shipped are: demo,"),
        ("photos/brds", r"photos/brds: there is no such file or folder\. Did you mean photos/birds\?"),
        ("fotos/birds", r"fotos/birds: there is no such file or folder, nor fotos\. Did you mean photos\?"),
        ("mine.yml", r"mine\.yml: there is no such file or folder\. Did you mean mine\.yaml\?"),
        ("photos.csv", r"photos\.csv: is a table \(with the keys data\.source=csv data\.csv=photos\.csv its photos"),
        ("a.JPG", r"a\.JPG: is a photo \(a folder of photos can be given\), where a YAML file"),
    ],
)
def test_a_path_to_nothing_or_to_something_else_is_told_from_a_name(
    given: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos" / "birds").mkdir(parents=True)
    for name in ("mine.yaml", "photos.csv", "a.JPG"):
        (tmp_path / name).write_text("path,label\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        load_experiment(given)


def test_a_section_that_is_given_as_a_value_is_named_with_its_keys() -> None:
    with pytest.raises(
        UserError, match=r"training\.schedule: is a section .* Did you mean training\.schedule\.kind=step"
    ):
        load_experiment("demo", ["training.schedule=step"])
    with pytest.raises(UserError, match=r"received 'fast'\. Its keys are kind, "):
        load_experiment("demo", ["training.schedule=fast"])


@pytest.mark.parametrize("value", ["nan", ".nan", ".inf", "-.inf", "NaN", "1e999"])
def test_what_is_no_finite_number_is_called_so(value: str) -> None:
    for key in ("training.learning_rate", "data.fraction", "training.weight_decay"):
        with pytest.raises(UserError, match=f"{key}: must be a finite number; received"):
            load_experiment("demo", [f"{key}={value}"])


@pytest.mark.parametrize(
    ("override", "rule"),
    [
        ("training.learning_rate=1e40", "less than or equal to 1e+32; received '1e40'"),
        ("training.epochs=0", "greater than or equal to 1; received 0"),
        ("training.epochs=.nan", "must be a finite number; received nan"),
        ("data.split_seed=9223372036854775808", "less than 9223372036854775808; received"),
        ("name=a/b", "name: must be made of letters without accents, digits, '.', '_' and '-'; received 'a/b'"),
        ("training.device=tpu", "must be auto, cpu, gpu, or numbers of GPUs such as gpu:0 or gpu:0,1; received 'tpu'"),
    ],
)
def test_rules_are_said_in_words_and_limits_so_that_they_can_be_read(override: str, rule: str) -> None:
    with pytest.raises(UserError, match=re.escape(rule)):
        load_experiment("demo", [override])


def test_every_pattern_of_a_key_is_said_in_words() -> None:
    """A regular expression says little to most users; a new one needs its words in `mistakes.py`."""
    schema = json.dumps(Experiment.model_json_schema())
    assert {json.loads(f'"{each}"') for each in re.findall(r'"pattern": "(.*?)"[,}]', schema)} == set(_IN_WORDS)


@pytest.mark.parametrize("text", ["just a text", "[data, model]", "5"])
def test_a_config_without_keys_is_shown(text: str, tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"must hold keys such as") as caught:
        load_experiment(path)
    assert str(caught.value).endswith(f"received {yaml.safe_load(text)!r}.")
    path.write_text(f"- {'long ' * 1000}", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_experiment(path)
    assert len(str(caught.value)) < 500 + len(str(path))
