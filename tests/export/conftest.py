"""Models and a run whose weights are random: nothing has to be trained to be exported."""

from pathlib import Path

import pytest

from clan_tf.config import load_experiment
from clan_tf.data import read_source
from clan_tf.environment import describe_environment
from clan_tf.layers.relation import RELATIONS
from clan_tf.models import CLAN, BranchClassifier, save_model
from clan_tf.run import RunDirectory
from clan_tf.runtime import ExportedModel
from clan_tf.training.start_files import describe_data
from helpers import TINY_DEMO
from helpers.exports import RESIZE, SIZE, answering_model
from helpers.models import Row, build


@pytest.fixture(scope="session")
def models() -> dict[str, BranchClassifier]:
    """By relation; not to be changed."""
    return {relation: answering_model(relation=relation) for relation in RELATIONS}


@pytest.fixture(scope="session")
def run(colour_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run whose model has random weights: nothing has to be trained to be exported."""
    overrides = [f"data={{source: folders, root: {colour_folders}, image_size: {SIZE}, resize_size: {RESIZE}}}"]
    experiment = load_experiment(TINY_DEMO, overrides)
    source = read_source(experiment.data)
    run = RunDirectory.create("demo", root=tmp_path_factory.mktemp("runs"))
    run.write_start(experiment, describe_environment(), describe_data(experiment, source, {}))
    run.write_status("finished", epochs=1, best_epoch=1, best_accuracy=0.5, seconds=1.0)
    model, _ = build(
        Row(
            "model",
            lambda: CLAN(
                "tiny",
                3,
                SIZE,
                resize_size=RESIZE,
                class_names=list(source.class_names),
                temperatures={"mid_1": 0.7, "top": 1.3, "combined": 1.6},
            ),
            takes_photos=True,
        )
    )
    save_model(model, run.best)
    return run


@pytest.fixture(autouse=True)
def brief_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speed is measured for a moment, and on one core unless a test asks for more: nothing is asserted of it."""
    measure = ExportedModel.measure
    monkeypatch.setattr(ExportedModel, "measure", lambda model, photos, seconds=0: measure(model, photos, 0.01))
    monkeypatch.setattr("clan_tf.export.gate.cores", lambda: 1)
