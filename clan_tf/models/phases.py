"""What of a model an epoch trains, where it isn't all of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import keras


@dataclass(frozen=True)
class Phase:
    """What an epoch trains.

    Attributes:
        name: what it is called, for the user.
        frozen: names of the model's layers whose weights stay as they are; their batch norm is that of inference.
        branches: whether the branches' cross-entropies are minimised; if not, all compute as in inference.
        own_losses: names of the model's own losses that are minimised; all of them if `None`.
    """

    name: str = "all"
    frozen: frozenset[str] = frozenset()
    branches: bool = True
    own_losses: tuple[str, ...] | None = None

    def trains(self, layer: keras.layers.Layer) -> bool:
        """Returns whether a layer of the model learns."""
        return layer.name not in self.frozen

    def minimizes(self, own_loss: str) -> bool:
        """Returns whether one of the model's own losses is minimised."""
        return self.own_losses is None or own_loss in self.own_losses


ALL = Phase()
MOST_NAMED = 5
"""How many epochs of a phase are named."""


def phase_of(
    epoch: int,
    attention_every: int | None,
    layers: Iterable[keras.layers.Layer],
    attention: Sequence[str],
    attention_learns: bool = True,
) -> Phase:
    """Returns what an epoch trains: the attention alone, by a model's own losses, or all else, by the branches.

    Args:
        epoch: counted from 0.
        attention_every: of how many epochs the last one trains the attention; all is trained in all of them if `None`.
        layers: all layers of the model, heads that no output is made of among them.
        attention: names of those whose weights make the attention.
        attention_learns: whether there is a loss that trains the attention.
    """
    if attention_every is None:
        return ALL
    if not attention_learns or epoch % attention_every != attention_every - 1:
        return Phase("classification", frozenset(attention), own_losses=())
    others = frozenset(layer.name for layer in layers if layer.weights and layer.name not in attention)
    return Phase("attention", others, branches=False)


def describe_phases(phases: Sequence[Phase]) -> str | None:
    """Says in words what each epoch trains; `None` if all is trained in each.

    Args:
        phases: that of each epoch.
    """
    usual, *later = dict.fromkeys(phases)
    if not later:
        return None if usual == ALL else f"{usual.name} in all epochs, the attention in none"
    epochs = {phase: [str(epoch) for epoch, each in enumerate(phases, 1) if each == phase] for phase in later}
    texts = []
    for phase, of in epochs.items():
        named = ", ".join([*of[:MOST_NAMED], *(["…"] if len(of) > MOST_NAMED else [])])
        texts.append(f"{phase.name} in {len(of)} epoch{'s' if len(of) > 1 else ''} ({named})")
    return f"{', '.join(texts)}, {usual.name} in the others"
