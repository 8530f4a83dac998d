"""What the curves of the losses are, as a report says it."""

from clan_tf.config import TrainingConfig
from clan_tf.models import BranchClassifier


def describe_losses(model: BranchClassifier, training: TrainingConfig) -> str:
    """Returns sentences on what `loss` is the sum of: branches' losses by their weights, and the model's own losses."""
    own, weights = model.own_loss_weights, model.loss_weights
    branches = "the branch's loss" if len(model.branches) == 1 else "the branches' losses"
    if any(weights[branch] != 1 for branch in model.branches):
        branches += f", each times its weight ({_listed({name: weights[name] for name in model.branches})})"
    text = f"loss is {'the sum of ' if len(model.branches) > 1 else ''}{branches}."
    if own:
        are = "losses that aren't a branch's: they are" if len(own) > 1 else "a loss that isn't a branch's: it is"
        text += f" On training photos it also holds {_listed(own)}, {are} computed in training only."
    if scheduled := [name for name in model.branches if name in training.loss_weight_schedules]:
        text += (
            f" On training photos the weight of {', '.join(scheduled)} changed over the epochs "
            "(training.loss_weight_schedules); on validation photos it is the final one."
        )
    return text


def _listed(weights: dict[str, float]) -> str:
    return ", ".join(f"{name} × {weight:g}" for name, weight in weights.items())
