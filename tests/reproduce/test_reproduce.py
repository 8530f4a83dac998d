"""The paper's tables: what is kept, refused and written."""

import csv
import hashlib
import json
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from clan_tf.cli.main import app
from clan_tf.config import Experiment, load_experiment
from clan_tf.data import read_source
from clan_tf.errors import CheckFailed, UserError
from clan_tf.files import write_text
from clan_tf.models import BranchClassifier, Plain, complexity, save_model
from clan_tf.models.build import build_model
from clan_tf.reproduce import costs, figures, plan_reproduction, reproduce, runs
from clan_tf.reproduce.paper import TABLES
from clan_tf.reproduce.significance import paired_p_value
from clan_tf.run import RunDirectory
from helpers import TINY_DEMO
from helpers.models import randomize_heads
from helpers.photos import write_photo
from helpers.processes import kept_by_another_process

TINY = [
    "data={source: generated, image_size: 32, resize_size: 36, generated_photos: {train: 16, val: 8, test: 24}}",
    "training={epochs: 1, batch_size: 8}",
]


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return load_experiment(TINY_DEMO, TINY)


ENVIRONMENT = {
    "started": "2026-01-01T00:00:00+00:00",
    "command": ["clan-tf"],
    "git_commit": "abc",
    "python": "3.11",
    "platform": "Linux",
    "packages": {},
    "devices": ["CPU"],
}


class FakeTraining:
    """Stands for `train` and `evaluate`: writes finished runs whose answers follow from their names alone."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.failing = ""
        self.evaluated: list[str] = []
        self.writes_models = False
        self.photos = [f"/photos/{index}.jpg" for index in range(40)]

    def train(self, experiment: Experiment, run_dir: str, progress: Any = None, resume: bool = False) -> None:
        run = RunDirectory(run_dir)
        run.path.mkdir(parents=True, exist_ok=resume)
        self.runs.append(run.path.name)
        if run.path.name == self.failing:
            run.remove_start()
            run.path.rmdir()
            raise CheckFailed("The loss became nan.")
        facts = {"source": "generated", "root": None, "photos": {"test": 40}, "classes": 2, "file_list_sha256": ""}
        run.write_start(experiment, ENVIRONMENT, {"class_names": ["a", "b"], **facts})
        if self.writes_models:
            run.best.write_bytes(run.path.name.encode())
        run.write_status("finished", epochs=1, best_epoch=1, best_accuracy=1.0, seconds=2.0)

    def evaluate(self, path: str, split: str, branches: tuple[str, ...] | None, **others: Any) -> None:
        folder = RunDirectory(path).evaluation(split, branches).path
        folder.mkdir(parents=True, exist_ok=True)
        self.evaluated.append(Path(path).name)
        if self.writes_models:
            digest = hashlib.sha256(RunDirectory(path).best.read_bytes()).hexdigest()
            write_text(folder / "metrics.json", json.dumps({"model_sha256": digest}))
        rng = np.random.default_rng(list(f"{path[-40:]}{branches}".encode()))
        columns = ["mid_1", "mid_2", "top", "refined_top", "combined"]
        with (folder / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["photo", "true", *columns])
            writer.writeheader()
            for photo, answers in zip(self.photos, rng.random((len(self.photos), 5)) < 0.7, strict=True):
                writer.writerow(
                    {"photo": photo, "true": "a", **dict(zip(columns, np.where(answers, "a", "b"), strict=True))}
                )


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> FakeTraining:
    fake = FakeTraining()
    monkeypatch.setattr(runs, "train", fake.train)
    monkeypatch.setattr(import_module("clan_tf.evaluation.current"), "evaluate", fake.evaluate)
    # Nothing is trained that would have to be freed, and it takes most of the time of these tests.
    monkeypatch.setattr(keras.utils, "clear_session", lambda free_memory=True: None)
    return fake


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_table_5_equals_the_paper(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["reproduce", "table5", "--output", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "All numbers equal the paper's" in done.stdout
    expected = [("VGG-16", 15.03, 61.63), ("2-scale CLAN", 16.08, 62.30), ("3-scale CLAN", 17.34, 64.83)]
    measured = [
        (row["method"], round(int(row["parameters"]) / 1e6, 2), round(int(row["macs"]) / 1e9, 2))
        for row in rows_of(tmp_path / "table5.csv")
    ]
    assert measured == expected


def test_every_network_of_the_tables_can_be_built(experiment: Experiment, tmp_path: Path) -> None:
    names = set()
    for table in TABLES.values():
        assert table.baseline in {row.method for row in table.rows}
        for job in runs.plan_jobs([row.network for row in table.rows], experiment, [3], tmp_path):
            if job.network.name not in names:
                names.add(job.network.name)
                model = build_model(job.experiment, 8, load_weights=False)
                assert job.experiment.training.seed == 3 and {"top", "global", "structure", "fused", "joint"} & {
                    *model.branches
                }
    # Table 1 shares its 3-scale dot product with Table 2, Table 3 its CLAN with Tables 4 and 6.
    assert len(names) == 24


@pytest.fixture(scope="module")
def cub200(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CUB-200-2011 as it is unpacked: 200 classes, two train photos and a test photo of each."""
    root = tmp_path_factory.mktemp("cub") / "CUB_200_2011"
    write_photo(root / "photo.jpg", (90, 90, 90))
    content = (root / "photo.jpg").read_bytes()
    images, labels, splits, classes = [], [], [], []
    for label in range(1, 201):
        name = f"{label:03d}.Bird_{label}"
        classes.append(f"{label} {name}")
        (root / "images" / name).mkdir(parents=True)
        for photo in range(3):
            number = len(images) + 1
            images.append(f"{number} {name}/{photo}.jpg")
            labels.append(f"{number} {label}")
            splits.append(f"{number} {int(photo < 2)}")
            (root / "images" / name / f"{photo}.jpg").write_bytes(content)
    files = {"images": images, "image_class_labels": labels, "train_test_split": splits, "classes": classes}
    for file, lines in files.items():
        write_text(root / f"{file}.txt", "\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize(
    ("backbone", "printed"),
    [
        pytest.param("vgg16_bn", [79.1, 84.1, 84.0, 84.2, *[None] * 6, 85.9, 86.8], marks=pytest.mark.soak),
        pytest.param(
            "resnet50",
            [86.0, None, None, None, 87.5, 86.2, 87.4, 87.9, None, None, 88.1, None],
            marks=pytest.mark.soak,
        ),
        ("tiny", [None] * 12),
    ],
)
def test_on_the_papers_photos_its_numbers_stand_beside_ours(
    backbone: str, printed: list[float | None], cub200: Path, training: FakeTraining, tmp_path: Path
) -> None:
    settings = ["model.weights=none", f"model.backbone={backbone}", f"data.root={cub200}"]
    result = reproduce("table6", load_experiment("vgg16_3scale", settings), [0], tmp_path)
    assert [row["paper"] for row in result.rows] == printed
    page = (tmp_path / "table6.md").read_text(encoding="utf-8")
    assert page.count(" % | ") == len(printed) + sum(number is not None for number in printed)
    for number in printed:
        assert number is None or f"| {number:.1f} % |" in page
    assert "CUB-200-2011, 200 classes, 448 px" in page


def test_table_4_is_trained_evaluated_and_written_as_a_user_would(tmp_path: Path) -> None:
    words = [word for override in TINY for word in ("--set", override)]
    done = CliRunner().invoke(app, ["reproduce", "table4", TINY_DEMO, "--output", str(tmp_path / "out"), *words])
    assert done.exit_code == 0, done.output
    (run,) = (tmp_path / "out" / "runs").iterdir()
    rows = {row["method"]: row for row in rows_of(tmp_path / "out" / "table4.csv")}
    answers = rows_of(run / "evaluation" / "test" / "predictions.csv")
    single = {"G-Branch": "top", "A-Branch": "mid_1", "P-Branch": "mid_2", "CLSA-Branch": "refined_top"}
    for method, branch in {**single, "G + P + A + CLSA": "combined"}.items():
        right = np.mean([answer[branch] == answer["true"] for answer in answers])
        assert float(rows[method]["accuracy"]) == pytest.approx(100 * right, abs=1e-3)
    joint = json.loads((run / "evaluation" / "test-top+mid_2" / "metrics.json").read_text(encoding="utf-8"))
    assert float(rows["G + P"]["accuracy"]) == pytest.approx(100 * joint["branches"]["combined"]["top1"], abs=1e-3)
    assert "| G + P + A + CLSA |" in done.stdout and "McNemar" in done.stdout


def test_finished_runs_are_kept_and_others_trained(
    experiment: Experiment, training: FakeTraining, tmp_path: Path
) -> None:
    first = reproduce("table2", experiment, [0, 1], tmp_path)
    assert len(training.runs) == 6
    broken_off = tmp_path / "runs" / "gap-3scale-seed1"
    write_text(broken_off / "status.json", '{"status": "running"}')
    plan = plan_reproduction("table2", experiment, [0, 1], tmp_path)
    assert plan.jobs["gap-3scale-seed1"][0] == "unfinished" and plan.basis == "5 finished runs"
    # Five finished runs took 2 s each; a network with fewer multiply-accumulates takes less.
    assert 0.5 < plan.jobs["gap-3scale-seed1"][1] < 2
    training.runs.clear()
    second = reproduce("table2", experiment, [0, 1], tmp_path)
    assert training.runs == ["gap-3scale-seed1"]
    assert first.rows == second.rows
    # Table 1 needs the same 3-scale network, whose run is used again.
    training.runs.clear()
    reproduce("table1", experiment, [0], tmp_path)
    assert len(training.runs) == 5 and "clca-dot_product-3scale-seed0" not in training.runs


def test_means_deviations_and_differences_are_those_of_the_predictions(
    experiment: Experiment, training: FakeTraining, tmp_path: Path
) -> None:
    result = reproduce("table6", experiment, [0, 1, 2], tmp_path, rows=["plain", "clan", "clan_3"])

    def right(network: str) -> np.ndarray:
        files = [tmp_path / "runs" / f"{network}-seed{seed}" for seed in range(3)]
        answers = [rows_of(file / "evaluation" / "test" / "predictions.csv") for file in files]
        return np.array([[answer["combined"] == answer["true"] for answer in one] for one in answers])

    plain, clan = right("plain"), right("clca-dot_product-clsa_avg_max-3scale")
    row = next(row for row in result.rows if row["method"] == "CLAN(3-scale)")
    assert row["accuracy"] == pytest.approx(100 * clan.mean(), abs=1e-3)
    assert row["standard_deviation"] == pytest.approx(100 * clan.mean(axis=1).std(ddof=1), abs=1e-3)
    assert row["difference"] == pytest.approx(100 * (clan.mean() - plain.mean()), abs=1e-3)
    assert row["p_value"] == pytest.approx(paired_p_value(clan, plain), rel=1e-2)
    page = (tmp_path / "table6.md").read_text(encoding="utf-8")
    assert f"{100 * clan.mean():.2f} ± " in page and "The order here" in page


def test_runs_of_another_config_are_refused(experiment: Experiment, training: FakeTraining, tmp_path: Path) -> None:
    reproduce("table4", experiment, [0], tmp_path)
    other = load_experiment(TINY_DEMO, [*TINY, "training.learning_rate=0.2"])
    with pytest.raises(UserError, match="was trained with training.learning_rate=0.05, but 0.2 is wanted"):
        reproduce("table4", other, [0], tmp_path)


def test_an_evaluation_of_an_earlier_model_is_done_again(
    experiment: Experiment, training: FakeTraining, tmp_path: Path
) -> None:
    training.writes_models = True
    reproduce("table2", experiment, [0], tmp_path)
    training.evaluated.clear()
    reproduce("table2", experiment, [0], tmp_path)
    assert training.evaluated == []
    (tmp_path / "runs" / "gap-3scale-seed0" / "best.keras").write_bytes(b"of a later epoch")
    reproduce("table2", experiment, [0], tmp_path)
    assert training.evaluated == ["gap-3scale-seed0"]


@pytest.mark.parametrize("change", ["one more", "one fewer", "another", "another class"])
def test_networks_tested_on_other_photos_are_not_compared(
    change: str, experiment: Experiment, training: FakeTraining, tmp_path: Path
) -> None:
    reproduce("table6", experiment, [0], tmp_path, rows=["plain"])
    run = tmp_path / "runs" / "plain-seed0"
    if change == "another class":
        table = run / "evaluation" / "test" / "predictions.csv"
        write_text(table, table.read_text(encoding="utf-8").replace("/photos/7.jpg,a,", "/photos/7.jpg,b,"))
    else:
        kept = training.photos[:-1] if change != "one more" else training.photos
        training.photos = [*kept, *(["/photos/new.jpg"] if change != "one fewer" else [])]
    number = "2 photos" if change == "another" else "1 photo"
    with pytest.raises(UserError, match=f"bcnn-seed0: was tested on other photos than {run}.*: {number} differ"):
        reproduce("table6", experiment, [0], tmp_path, rows=["plain", "bcnn"])


def test_photos_that_were_moved_or_listed_in_another_order_are_paired(
    experiment: Experiment, training: FakeTraining, tmp_path: Path
) -> None:
    expected = reproduce("table6", experiment, [0], tmp_path, rows=["plain", "bcnn"]).rows
    table = tmp_path / "runs" / "bcnn-seed0" / "evaluation" / "test" / "predictions.csv"
    heading, *lines = table.read_text(encoding="utf-8").replace("/photos/", "/moved/").splitlines()
    write_text(table, "\n".join([heading, *reversed(lines)]) + "\n")
    assert reproduce("table6", experiment, [0], tmp_path, rows=["plain", "bcnn"]).rows == expected


def test_two_processes_dont_work_in_one_folder(experiment: Experiment, training: FakeTraining, tmp_path: Path) -> None:
    with kept_by_another_process(tmp_path), pytest.raises(UserError, match="another process is working in it"):
        reproduce("table4", experiment, [0], tmp_path)
    reproduce("table4", experiment, [0], tmp_path)
    assert training.runs


def test_a_failed_training_leaves_the_rest_of_the_table(
    experiment: Experiment, training: FakeTraining, tmp_path: Path
) -> None:
    training.failing = "non_local-dot_product-3scale-seed0"
    with pytest.raises(CheckFailed, match="1 run failed:\n  non_local-dot_product-3scale-seed0: The loss became"):
        reproduce("table2", experiment, [0], tmp_path)
    rows = {row["method"]: row for row in rows_of(tmp_path / "table2.csv")}
    assert rows["Non-local"]["accuracy"] == "" and "became nan" in rows["Non-local"]["failures"]
    assert rows["CLCA"]["accuracy"] != ""


def test_without_a_test_split_validation_photos_are_named(
    experiment: Experiment, training: FakeTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = read_source(experiment.data)
    without = type(source)(source.class_names, {**source.splits, "test": []})
    monkeypatch.setattr(import_module("clan_tf.reproduce.reproduce"), "read_source", lambda config: without)
    result = reproduce("table4", experiment, [0], tmp_path)
    assert "Accuracy on 40 val photos" in result.files[0].read_text(encoding="utf-8")


def test_figures_are_grids_of_photos_and_maps(
    experiment: Experiment, training: FakeTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @cache
    def load_random(path: Path) -> BranchClassifier:
        return randomize_heads(build_model(RunDirectory(path.parent).experiment(), 8))

    monkeypatch.setattr(figures, "load_model", load_random)
    monkeypatch.setattr(figures, "_PHOTOS", {"figure4": 2, "figure6": 4})
    sizes = {}
    for name in ("figure4", "figure6"):
        (path,) = reproduce(name, experiment, [0], tmp_path).files
        with Image.open(path) as image:
            sizes[name] = image.size
    assert len(training.runs) == 4
    # Two photos and four networks of three scales beside them; four photos and two maps of one network.
    (wide, low), (narrow, high) = sizes["figure4"], sizes["figure6"]
    assert wide / narrow == pytest.approx(13 / 3, rel=0.1) and high / low == pytest.approx(4 / 2, rel=0.1)


def test_a_plan_without_finished_runs_measures_an_epoch(experiment: Experiment, tmp_path: Path) -> None:
    plan = plan_reproduction("figure5", experiment, [0], tmp_path / "out")
    assert plan.basis.startswith("one measured epoch of gap-3scale-seed0")
    (first, first_seconds), (second, second_seconds) = plan.jobs.values()
    assert first == second == "missing"
    # CLAN has more multiply-accumulates than plain pooling, so it is estimated to take longer.
    assert 0 < first_seconds < second_seconds
    assert list(tmp_path.iterdir()) == []


def test_mistakes_are_named(experiment: Experiment, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="NAME: must be one of table1.*'tabel2'. Did you mean table2"):
        reproduce("tabel2", experiment, [0], tmp_path)
    with pytest.raises(UserError, match="--seeds: must be different whole numbers"):
        reproduce("table2", experiment, [0, 0], tmp_path)
    result = CliRunner().invoke(app, ["reproduce", "table2", TINY_DEMO, "--seeds", "a"])
    assert isinstance(result.exception, UserError) and "--seeds" in str(result.exception)
    with pytest.raises(UserError, match="--rows: table6 has no 'bccn'. Did you mean bcnn?"):
        reproduce("table6", experiment, [0], tmp_path, rows=["plain", "bccn"])
    with pytest.raises(UserError, match="--rows: figure4 has no rows"):
        reproduce("figure4", experiment, [0], tmp_path, rows=["plain"])
    with pytest.raises(UserError, match="data.root"):
        reproduce("table1", load_experiment("vgg16_3scale"), [0], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_some_rows_alone_are_trained_and_the_others_named(
    experiment: Experiment, training: FakeTraining, tmp_path: Path
) -> None:
    done = reproduce("table6", experiment, [0], tmp_path, rows=["bcnn", "plain"])
    assert sorted(training.runs) == ["bcnn-seed0", "plain-seed0"]
    assert [row["method"] for row in done.rows] == ["Finetuned backbone", "B-CNN"]
    page = (tmp_path / "table6.md").read_text(encoding="utf-8")
    assert (
        "Rows left out by --rows: cbp, lrbp, dbt, mamc, dfb, tasn, ra_cnn, ma_cnn, clan, clan_3." in page
        and "percentage points above" in page
    )


def test_without_the_baseline_nothing_is_compared(
    experiment: Experiment, training: FakeTraining, tmp_path: Path
) -> None:
    done = reproduce("table6", experiment, [0], tmp_path, rows=["cbp"])
    assert [row["difference"] for row in done.rows] == [None]
    page = (tmp_path / "table6.md").read_text(encoding="utf-8")
    assert "percentage points above" not in page and "order here" not in page


@pytest.mark.parametrize("is_converted", [True, False])
def test_costs_are_those_of_the_trained_network(
    is_converted: bool,
    experiment: Experiment,
    training: FakeTraining,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Plain("tiny", 8, 32)

    def train(experiment: Experiment, run_dir: str, **others: Any) -> None:
        training.train(experiment, run_dir, **others)
        save_model(model, RunDirectory(run_dir).best)

    def fail(model: BranchClassifier) -> bytes:
        raise CheckFailed("no operator for it.")

    monkeypatch.setattr(runs, "train", train)
    if not is_converted:
        monkeypatch.setattr(costs, "tflite_bytes", fail)
    (row,) = reproduce("table6", experiment, [0], tmp_path, rows=["plain"]).rows
    counted = complexity(model)
    assert (row["parameters"], row["macs"]) == (sum(counted.parameters.values()), sum(counted.macs.values()))
    page = (tmp_path / "table6.md").read_text(encoding="utf-8")
    if is_converted:
        # Weights in float32, and the operators between them.
        assert 4 * row["parameters"] < row["tflite_bytes"] < 4 * row["parameters"] + 50_000
    else:
        assert row["tflite_bytes"] is None and "not converted" in page and "% |" in page


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("data.augmentation.mixup=0.5", "mixes photos of several classes"),
        ("training.batch_size=7", "mamc: .*7 divides"),
    ],
)
def test_a_recipe_that_one_network_cannot_take_is_refused_before_any_is_trained(
    value: str, message: str, tmp_path: Path
) -> None:
    experiment = load_experiment("demo", [value])
    with pytest.raises(UserError, match=message):
        runs.plan_jobs([row.network for row in TABLES["table6"].rows], experiment, [0], tmp_path)
    runs.plan_jobs([row.network for row in TABLES["table2"].rows], experiment, [0], tmp_path)
