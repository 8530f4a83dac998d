"""The experiment that a folder of photos starts with."""

import shutil
from pathlib import Path

import pytest

from clan_tf.config import load_experiment, shipped_presets
from clan_tf.config.loading import data_named
from clan_tf.data import read_source
from clan_tf.data.starting import epochs_for, experiment_for_data, experiment_for_folder, name_for, source_in
from clan_tf.errors import UserError
from clan_tf.models import BACKBONES
from helpers.photos import write_photo


def test_a_folder_gets_the_fast_preset_and_what_follows_from_its_photos(colour_folders: Path) -> None:
    experiment = experiment_for_folder(colour_folders)
    fast = load_experiment("fast")
    assert (experiment.data.source, experiment.data.root) == ("folders", str(colour_folders.resolve()))
    assert experiment.model == fast.model
    assert experiment.training.batch_size == fast.training.batch_size
    assert experiment.training.epochs == 40  # few photos


def test_overrides_win_over_what_follows_from_the_photos(colour_folders: Path) -> None:
    experiment = experiment_for_folder(colour_folders, ["training.epochs=3", "training.batch_size=2"], "good")
    assert (experiment.training.epochs, experiment.training.batch_size) == (3, 2)
    assert experiment.model.backbone == load_experiment("good").model.backbone


def test_a_small_folder_gets_a_batch_that_its_parts_share_evenly(colour_folders: Path) -> None:
    for fraction in (0.3, 0.6):
        overrides = [f"data.fraction={fraction}", "training.accumulation=2"]
        batch_size = experiment_for_folder(colour_folders, overrides).training.batch_size
        assert 2 <= batch_size < 16 and batch_size % 2 == 0


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
@pytest.mark.parametrize("preset", ["fast", "good"])
def test_a_batch_of_a_small_folder_fits_into_the_train_photos_of_the_cut(
    tmp_path: Path, preset: str, seed: int
) -> None:
    for name, count in (("a", 12), ("b", 12), ("c", 1)):
        for index in range(count):
            write_photo(tmp_path / name / f"{index}.png", (10 * index, 20 * seed, ord(name)))
    experiment = experiment_for_folder(tmp_path, preset=preset)
    assert 1 <= experiment.training.batch_size <= len(read_source(experiment.data).splits["train"])


@pytest.mark.parametrize(("photos", "epochs"), [(1, 40), (200, 40), (400, 20), (800, 10), (1200, 8), (100_000, 8)])
def test_fewer_photos_are_seen_more_often(photos: int, epochs: int) -> None:
    assert epochs_for(photos) == epochs


@pytest.mark.parametrize(
    ("folder", "name"), [("birds", "birds"), ("my birds (2024)", "my-birds-2024"), ("Vögel", "Vogel"), ("§§", "photos")]
)
def test_runs_are_named_after_the_folder(folder: str, name: str, tmp_path: Path) -> None:
    assert name_for(tmp_path / folder) == name


def test_files_in_the_folder_tell_the_source(tmp_path: Path) -> None:
    (tmp_path / "images.txt").touch()  # which people make themselves, too
    assert source_in(tmp_path) == "folders"
    for number, (file, source) in enumerate(
        [
            ("image_class_labels.txt", "cub"),
            ("devkit/cars_meta.mat", "cars"),
            ("data/variants.txt", "aircraft"),
            ("photos.csv", "csv"),
            ("dataset_info.json", "records"),
        ]
    ):
        path = tmp_path / str(number) / file
        path.parent.mkdir(parents=True)
        path.touch()
        assert source_in(tmp_path / str(number)) == source
    (tmp_path / "0" / "photos.csv").touch()
    with pytest.raises(UserError, match=r"image_class_labels\.txt and photos\.csv, so that it may be cub or csv"):
        source_in(tmp_path / "0")


def test_a_given_table_is_read_or_is_said_not_to_be(colour_folders: Path, tmp_path: Path) -> None:
    photos = sorted(path.relative_to(colour_folders).as_posix() for path in colour_folders.rglob("*.*"))
    rows = "".join(f"{photo}\t{'odd' if number % 2 else 'even'}\n" for number, photo in enumerate(photos))
    table = tmp_path / "table.csv"
    table.write_text(f"path\tlabel\n{rows}", encoding="utf-8")
    source = read_source(experiment_for_folder(colour_folders, [f"data.csv={table}"]).data)
    assert source.class_names == ("even", "odd") and not any("table.csv" in note for note in source.notes)
    ignored = read_source(experiment_for_folder(colour_folders, [f"data.csv={table}", "data.source=folders"]).data)
    assert "even" not in ignored.class_names
    assert f"data.csv: {table} isn't read, because data.source is folders; data.source=csv reads it." in ignored.notes


def write_table(folder: Path, table: Path) -> Path:
    photos = sorted(folder.rglob("*.jpg"))
    rows = "".join(f"{photo.relative_to(folder).as_posix()}\t{photo.parent.name}\n" for photo in photos)
    table.write_text(f"path\tlabel\n{rows}", encoding="utf-8")
    return table


@pytest.mark.parametrize(("file", "name"), [("birds.csv", "birds"), ("photos.csv", "data")])
def test_a_table_alone_makes_the_experiment_that_its_folder_would(
    file: str, name: str, colour_folders: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(colour_folders, folder)
    table = write_table(folder, folder / file)
    made = experiment_for_data([f"data.csv={table}", "data.source=csv"])
    same = experiment_for_folder(folder, [f"data.csv={table}"])
    assert (made.name, made.data.root) == (name, None)
    assert (made.model, made.training) == (same.model, same.training)
    assert read_source(made.data).splits == read_source(same.data).splits


def test_a_named_folder_makes_the_experiment_of_that_folder(
    colour_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = [f"data.root={colour_folders}", "data.flip=false"]
    assert experiment_for_data(overrides) == experiment_for_folder(colour_folders, ["data.flip=false"])
    monkeypatch.setenv("HOME", str(colour_folders.parent))
    assert experiment_for_data([f"data.root=~/{colour_folders.name}"]) == experiment_for_folder(colour_folders)


def test_a_source_that_is_said_needs_no_single_layout(colour_folders: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(colour_folders, folder)
    (folder / "variants.txt").touch()
    write_table(folder, folder / "photos.csv")
    assert experiment_for_folder(folder, ["data.source=csv"]).data.source == "csv"


@pytest.mark.parametrize(
    ("overrides", "name", "source"),
    [
        (["data.source=tfds:cassava"], "cassava", "tfds:cassava"),
        (["data.source=tfds:cassava:0.1.0", "data.root=/sets"], "cassava-0.1.0", "tfds:cassava:0.1.0"),
        (["data.root=gs://bucket/my birds"], "my-birds", "records"),
    ],
)
def test_runs_on_named_data_sets_are_named_after_them(
    overrides: list[str], name: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clan_tf.data.starting._train_photos", lambda data: (400, 400))
    made = experiment_for_data(overrides)
    assert (made.name, made.data.source, made.training.epochs) == (name, source, 20)


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("data.source=csv", "data.csv: the source 'csv' needs the table"),
        ("data.csv=nowhere.csv", "data.csv: there is no file .*nowhere.csv"),
        ("data.csv=.", "data.csv: there is no file"),
        ("data.root=nowhere", "data.root: "),
        ("data.source=cub", "data.root: "),
        ("data={root: 5}", "data.root: "),
        ("data={csv: [1]}", "data.csv: "),
        ("data.root=gs://nowhere/x", "data.root: "),
    ],
)
def test_named_data_that_is_not_there_gets_one_message(override: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        experiment_for_data([override])


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["data.csv=x.csv"], "x.csv"),
        (["data={source: csv, csv: x.csv}", "data.root=photos"], "photos"),
        (["data.source=tfds:cassava"], "tfds:cassava"),
        (["data.source=generated", "data.root=x"], None),
        (["data.root=null", "training.epochs=3"], None),
        ([], None),
    ],
)
def test_overrides_name_own_data_or_none(overrides: list[str], named: str | None) -> None:
    assert data_named(overrides) == named


@pytest.mark.parametrize("name", shipped_presets())
def test_every_preset_is_pretrained_and_has_taps(name: str) -> None:
    experiment = load_experiment(name)
    assert experiment.model.weights == "imagenet" and BACKBONES[experiment.model.backbone].imagenet


def test_a_preset_replaces_model_and_recipe_of_a_config_and_keeps_its_data(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "data: {root: photos, image_size: 448, resize_size: 460, flip: false}\n"
        "model: {backbone: vgg16, mid: [block5_conv2], scales: 2}\ntraining: {epochs: 3, seed: 5}\n",
        encoding="utf-8",
    )
    fast = load_experiment("fast")
    experiment = load_experiment(tmp_path / "own.yaml", ["training.epochs=4"], preset="fast")
    assert experiment.model == fast.model.model_copy(update={"scales": 2})
    assert (experiment.data.image_size, experiment.data.resize_size) == (224, None)
    assert (experiment.training.epochs, experiment.training.seed, experiment.data.flip) == (4, 5, False)
    assert (experiment.data.root or "").endswith("photos")


def test_an_unknown_preset_is_refused_with_the_right_ones() -> None:
    with pytest.raises(UserError, match=r"--preset: no preset 'fats'. Did you mean fast\? There are: best, fast, good"):
        load_experiment("demo", preset="fats")
