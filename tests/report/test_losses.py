"""What a report says of the losses, against what models compute."""

import pytest

from clan_tf.config import load_experiment
from clan_tf.models.build import build_model
from clan_tf.report.losses import describe_losses
from helpers import TINY_DEMO


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["model.architecture=plain"], "loss is the branch's loss."),
        (["model.architecture=clan"], "loss is the sum of the branches' losses."),
        (
            ["model.architecture=clan", "model.loss_weights.top=0.5"],
            "loss is the sum of the branches' losses, each times its weight (mid_1 × 1, top × 0.5, refined_top × 1).",
        ),
        (["model.architecture=dfb"], "each times its weight (global × 1, part × 1, side × 0.1)."),
        (
            ["model.architecture=mamc", "model.mamc.pair_loss_weight=0.25"],
            "loss is the branch's loss. On training photos it also holds pairs × 0.25, a loss that isn't a branch's: "
            "it is computed in training only.",
        ),
        (
            ["model.architecture=ma_cnn"],
            "On training photos it also holds compactness × 1, diversity × 1, losses that aren't a branch's: they are",
        ),
        (["model.architecture=ra_cnn"], "On training photos it also holds ranking × 1, a loss that isn't a branch's"),
        (
            ["model.architecture=plain", "training.loss_weight_schedules={top: {start: 0, epochs: 1}}"],
            "the weight of top changed over the epochs (training.loss_weight_schedules); on validation photos it is",
        ),
    ],
)
def test_the_sum_is_told_by_its_branches_weights_and_own_losses(settings: list[str], expected: str) -> None:
    experiment = load_experiment(TINY_DEMO, settings)
    model = build_model(experiment, 6, load_weights=False)
    text = describe_losses(model, experiment.training)
    for name, weight in model.own_loss_weights.items():
        assert f"{name} × {weight:g}" in text
    assert expected in text
