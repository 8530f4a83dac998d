"""How deep each weight of a backbone lies: its blocks, joined into a few groups."""

from collections.abc import Iterator

import keras

DEPTH_GROUPS = 12
"""Most groups of a backbone. A decay per group then means about the same for shallow and deep ones."""


def depth_groups(backbone: keras.Model, most: int = DEPTH_GROUPS) -> list[list[keras.Variable]]:
    """Divides a backbone's trainable weights into groups by depth, from the photo on.

    A block ends at every layer whose output is all that later layers take: after a residual block, whose shortcut joins
    it there, and after each convolution of a chain such as VGG's, with the normalisation that follows. Only the graph
    counts, so this holds for any functional model. If there are more than `most` blocks with weights, neighbours are
    joined into groups of as equal a number of blocks as possible, as ConvNeXt's authors do.

    Args:
        backbone: a functional model.
        most: the largest number of groups.
    """
    blocks = list(_blocks(backbone))
    count = min(most, len(blocks))
    groups: list[list[keras.Variable]] = [[] for _ in range(count)]
    for index, block in enumerate(blocks):
        groups[index * count // len(blocks)] += block
    return groups


def _blocks(backbone: keras.Model) -> Iterator[list[keras.Variable]]:
    """Yields the trainable weights of each block; those of layers such as batch norm go with the kernel before them."""
    block: list[keras.Variable] = []
    for segment in _segments(backbone):
        weights = [weight for operation in segment for weight in getattr(operation, "trainable_variables", ())]
        if block and any(len(weight.shape) > 1 for weight in weights):
            yield block
            block = []
        block = block + weights
    if block:
        yield block


def _segments(backbone: keras.Model) -> Iterator[list[keras.Operation]]:
    """Yields the operations between two places where the whole graph passes through one of them, in order."""
    operations = backbone.operations  # each after those whose output it takes
    place = {id(tensor): index for index, each in enumerate(operations) for tensor in keras.tree.flatten(each.output)}
    last_use = list(range(len(operations)))
    for index, operation in enumerate(operations):
        for tensor in keras.tree.flatten(operation.input) if index else ():
            last_use[place[id(tensor)]] = index
    segment: list[keras.Operation] = []
    furthest = 0
    for index, operation in enumerate(operations):
        segment.append(operation)
        if furthest <= index:
            yield segment
            segment = []
        furthest = max(furthest, last_use[index])
    if segment:
        yield segment
