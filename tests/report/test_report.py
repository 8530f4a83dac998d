"""The report: its numbers against independent ones, and the page in a real browser."""

import csv
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from clan_tf.cli.main import app
from clan_tf.config import load_experiment
from clan_tf.errors import UserError
from clan_tf.evaluation import Cells, evaluate
from clan_tf.files import write_text
from clan_tf.models import save_model
from clan_tf.models.build import build_model
from clan_tf.progress import Progress
from clan_tf.report import write_report
from clan_tf.report.charts import short
from clan_tf.report.facts import read_facts
from clan_tf.report.statistics import confused_groups, similar_order
from clan_tf.run import RunDirectory
from helpers import chromium
from helpers.models import randomize_heads
from helpers.notes import Notes
from helpers.photos import write_photo
from helpers.pictures import without_pictures

CLASSES, PHOTOS = 200, 5794
"""As many as CUB-200-2011 has in its test split."""


class Elements(HTMLParser):
    """The start tags of a page, with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def of(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.found if tag in tags]


@pytest.fixture(scope="module")
def page(trained_run: RunDirectory, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "page.html"
    done = CliRunner().invoke(app, ["report", str(trained_run.path), "--output", str(path)])
    assert done.exit_code == 0, done.output
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def large_report(trained_run: RunDirectory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a made-up run of 200 classes and 5,794 test photos, all of them files, with a random model."""
    folder = tmp_path_factory.mktemp("large")
    names = [f"{label:03d}.Some_bird_of_kind_{label}" for label in range(CLASSES)]
    write_photo(folder / "one.jpg", (120, 90, 60), size=(320, 240))
    content = (folder / "one.jpg").read_bytes()
    rng = np.random.default_rng(0)
    rows = []
    for index in range(PHOTOS):
        true = names[index % CLASSES]
        path = folder / "photos" / "test" / true / f"{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        answers = [_answer(rng, index % CLASSES, names) for _ in range(4)]
        row = {"photo": str(path), "true": true}
        for branch, answer in zip(("mid_1", "top", "refined_top", "combined"), answers, strict=True):
            row |= {branch: answer, f"{branch}_probability": f"{rng.beta(5, 2):.6f}"}
        rows.append(row)
    for name in names:
        for split in ("train", "val"):
            path = folder / "photos" / split / name / "0.jpg"
            path.parent.mkdir(parents=True)
            path.write_bytes(content)
    run = RunDirectory(folder / "run")
    shutil.copytree(trained_run.path, run.path, ignore=shutil.ignore_patterns("evaluation", "tensorboard", "*.keras"))
    experiment = load_experiment(run.path / "config.yaml", [f"data.root={folder / 'photos'}"])
    write_text(run.path / "config.yaml", experiment.to_yaml())
    data = json.loads((run.path / "data.json").read_text(encoding="utf-8"))
    data |= {"classes": CLASSES, "class_names": names, "photos": {"train": 200, "val": 200, "test": PHOTOS}}
    write_text(run.path / "data.json", json.dumps(data))
    save_model(randomize_heads(build_model(experiment, CLASSES, names)), run.best)
    evaluation = run.evaluation("test").path
    evaluation.mkdir(parents=True)
    scores = {"top1": 0.8, "top5": 0.95}
    branches = dict.fromkeys(("mid_1", "top", "refined_top", "combined"), scores)
    write_text(evaluation / "metrics.json", json.dumps({"branches": branches}))
    with (evaluation / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return write_report(str(run.path))


def _answer(rng: np.random.Generator, label: int, names: list[str]) -> str:
    """Right in four of five cases, otherwise mostly one of a few neighbours."""
    if rng.random() < 0.8:
        return names[label]
    return names[label // 5 * 5 + rng.integers(5)] if rng.random() < 0.7 else names[rng.integers(CLASSES)]


def test_confused_classes_stand_together() -> None:
    matrix = np.diag([20] * 8)
    matrix[0, 5] = matrix[5, 0] = 6
    matrix[2, 7] = 9
    matrix[7, 3] = 4
    order = similar_order(matrix)
    cells = Cells(*np.argwhere(matrix).T, matrix[matrix > 0], 8)
    assert abs(order.index(0) - order.index(5)) == 1 and abs(order.index(2) - order.index(7)) == 1
    assert [sorted(group) for group in confused_groups(cells)] == [[2, 3, 7], [0, 5]]
    assert [sorted(group) for group in confused_groups(cells, most_classes=2)] == [[0, 5], [2, 7]]


def test_the_page_has_the_evaluations_numbers(page: str, trained_run: RunDirectory) -> None:
    with trained_run.evaluation("test").predictions.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    right = sum(row["combined"] == row["true"] for row in rows)
    assert f"{right} of {len(rows)} test photos ({100 * right / len(rows):.1f} %)" in page
    for branch in ("mid_1", "top", "refined_top", "combined"):
        share = np.mean([row[branch] == row["true"] for row in rows])
        assert f'<th scope="row">{branch}</th>' in page and f"{100 * share:.2f} %" in page
    assert " k</td>" in page and "0.000 G" not in page, "a small part's cost is rounded away"
    assert re.search(r"Training took (\d+ h \d\d min|\d+ min \d\d s|\d+ s), [\d.]+ seconds per epoch", page)
    for text in (
        "Confusion matrix",
        "Worst mistakes",
        "Calibration",
        "Configuration",
        "Environment",
        "training.epochs",
    ):
        assert text in page


def test_the_page_needs_nothing_else_and_can_be_read_aloud(page: str) -> None:
    elements = Elements(page)
    assert not elements.of("script", "link", "iframe", "object")
    assert elements.of("img")
    for image in elements.of("img"):
        assert image["src"].startswith("data:image/") and image["alt"]
    assert not [a for a in elements.of("a") if not a["href"].startswith("#")]
    assert "url(" not in page and "@import" not in page
    ids = {attributes["id"] for _, attributes in elements.found if attributes.get("id")}
    assert {a["href"][1:] for a in elements.of("a")} <= ids
    assert len(elements.of("h1")) == 1 and elements.of("html")[0]["lang"] == "en"
    regions = [element for element in elements.of("div") if element.get("role") == "region"]
    assert regions and all(region["aria-label"] for region in regions)


def test_class_names_are_shown_as_text(tmp_path: Path, trained_run: RunDirectory) -> None:
    assert short("001.Black_footed_Albatross") == "Black footed Albatross"
    assert short("F/A-18") == "F/A-18" and short("3.1") == "1"
    run = _copy(trained_run, tmp_path)
    for file in ("data.json", "evaluation/test/predictions.csv"):
        text = (run.path / file).read_text(encoding="utf-8")
        write_text(run.path / file, text.replace("red bird", "<b>red</b>"))
    page = write_report(str(run.path)).read_text(encoding="utf-8")
    assert "<b>red</b>" not in page and "&lt;b&gt;red&lt;/b&gt;" in page


def test_without_a_test_split_the_validation_photos_are_shown_and_named(
    tmp_path: Path, trained_run: RunDirectory
) -> None:
    run = _copy(trained_run, tmp_path)
    data = json.loads((run.path / "data.json").read_text(encoding="utf-8"))
    del data["photos"]["test"]
    write_text(run.path / "data.json", json.dumps(data))
    page = write_report(str(run.path)).read_text(encoding="utf-8")
    assert "The data has no test split" in page and f"{data['photos']['val']} validation photos" in page
    assert run.evaluation("val").is_complete


def test_without_its_photos_or_model_a_run_still_has_a_report(tmp_path: Path, trained_run: RunDirectory) -> None:
    run = _copy(trained_run, tmp_path)
    run.best.unlink()
    run.write_status("failed", reason="disk full")
    page = write_report(str(run.path), tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    assert "There are no heat maps" in page and "This run is failed" in page
    moved = load_experiment(run.path / "config.yaml", [f"data.root={tmp_path / 'gone'}"])
    write_text(run.path / "config.yaml", moved.to_yaml())
    page = write_report(str(run.path)).read_text(encoding="utf-8")
    assert "there are no examples: data.root" in page


def test_what_is_no_whole_run_is_refused(tmp_path: Path, trained_run: RunDirectory) -> None:
    with pytest.raises(UserError, match="not a run directory"):
        write_report(str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    run = _copy(trained_run, tmp_path)
    names = (run.path / "data.json").read_text(encoding="utf-8")
    write_text(run.path / "data.json", names.replace("red bird", "redbird"))
    with pytest.raises(UserError, match="names the class 'red bird', which data.json doesn't"):
        write_report(str(run.path))
    write_text(run.path / "data.json", "{")
    with pytest.raises(UserError, match="data.json: is damaged"):
        write_report(str(run.path))
    (run.path / "data.json").unlink()
    with pytest.raises(UserError, match="data.json: can't be read"):
        write_report(str(run.path))


def test_a_report_of_200_classes_and_5794_photos_is_below_15_mb(large_report: Path) -> None:
    page = large_report.read_text(encoding="utf-8")
    assert "of 5,794 test photos" in page and "All 200 classes" in page
    assert len([image for image in Elements(page).of("img") if image["alt"].startswith("A photo")]) > 20
    assert large_report.stat().st_size < 15e6


@pytest.mark.skipif(chromium.EXECUTABLE is None, reason="Chromium isn't installed (Debian: apt install chromium)")
def test_a_browser_opens_the_large_report_in_two_seconds_wide_and_narrow(large_report: Path, tmp_path: Path) -> None:
    with chromium.open_page() as tab:
        for width in (1280, 390):
            seconds = min(tab.open(large_report, width, 900) for _ in range(3))
            assert seconds < 2, f"{seconds:.2f} s at {width} pixels"
            # Nothing stands beyond the window: wide tables and matrices scroll inside themselves.
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            assert tab.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
            assert (
                tab.evaluate(
                    "Math.min(...[...document.querySelectorAll('p, td, th, li, figcaption')]"
                    ".map(element => parseFloat(getComputedStyle(element).fontSize)))"
                )
                >= 12
            )
            # Names of keys and packages aren't broken in the middle, so that none takes three lines.
            assert (
                tab.evaluate(
                    """Math.max(...[...document.querySelectorAll('.facts th')].map(one => {
                        const text = document.createRange();
                        text.selectNodeContents(one);
                        return text.getBoundingClientRect().height / parseFloat(getComputedStyle(one).fontSize);
                    }))"""
                )
                < 3.5
            )
            tab.screenshot(tmp_path / f"{width}.png")
            assert (tmp_path / f"{width}.png").stat().st_size > 10_000
        # The whole matrix keeps its names in view while it scrolls, in letters that can be read.
        tab.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        shown = tab.evaluate(
            """(() => {
                const matrix = document.querySelector('.matrix.low');
                matrix.scrollTo(1500, 1500);
                const [box, rows, columns] = [matrix, matrix.querySelector('.rows'), matrix.querySelector('.columns')]
                    .map(element => element.getBoundingClientRect());
                const name = matrix.querySelector('.rows text');
                return {scrolled: matrix.scrollTop, left: rows.left - box.left, top: columns.top - box.top,
                        letters: parseFloat(getComputedStyle(name).fontSize),
                        names: matrix.querySelectorAll('.rows text').length};
            })()"""
        )
        assert shown["names"] == CLASSES and shown["letters"] >= 10 and shown["scrolled"] == 1500
        assert shown["left"] == pytest.approx(1, abs=1) and shown["top"] == pytest.approx(1, abs=1)
        assert [address for address in tab.requests if not address.startswith("file:")] == []


def _copy(run: RunDirectory, folder: Path) -> RunDirectory:
    if not run.evaluation("test").path.is_dir():
        evaluate(str(run.path))
    shutil.copytree(run.path, folder / "run", ignore=shutil.ignore_patterns("tensorboard"))
    return RunDirectory(folder / "run")


def test_photos_that_were_moved_are_found_where_the_user_says(
    trained_run: RunDirectory, colour_folders: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained_run.path, tmp_path / "run", ignore=shutil.ignore_patterns("tensorboard"))
    shutil.copytree(colour_folders, tmp_path / "moved")
    run = RunDirectory(tmp_path / "run")
    before = run.config.read_text(encoding="utf-8")
    with without_pictures():
        evaluate(str(run.path))
    run.config.write_text(before.replace(str(colour_folders), str(tmp_path / "gone")), encoding="utf-8")
    with run.evaluation("test").predictions.open(encoding="utf-8") as file:
        text = file.read().replace(str(colour_folders), str(tmp_path / "gone"))
    run.evaluation("test").predictions.write_text(text, encoding="utf-8")
    notes = Notes()
    facts, source, _ = read_facts(str(run.path), notes)
    assert source is None and "no longer be read" in notes.notes[0] and "--set data.root=FOLDER" in notes.notes[0]
    with pytest.raises(UserError, match="there is no folder .*mistyped"):
        write_report(str(run.path), overrides=[f"data.root={tmp_path / 'mistyped'}"])
    facts, source, _ = read_facts(str(run.path), Progress(), [f"data.root={tmp_path / 'moved'}"])
    assert {row["photo"] for row in facts.predictions} == {photo.name for photo in source.photos("test")}
    assert all(Path(row["photo"]).is_file() for row in facts.predictions)


def test_a_matrix_of_too_many_classes_is_not_drawn(
    trained_run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clan_tf.report.report.DRAWN", 2)
    page = write_report(str(trained_run.path), tmp_path / "page.html").read_text(encoding="utf-8")
    assert "A matrix of 3 classes is too large to draw" in page and "confusion.csv" in page
    assert "at a glance" not in page and "Confusion matrix of all classes" not in page
