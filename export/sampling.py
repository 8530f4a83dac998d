"""Representative samples of photos."""

from collections.abc import Sequence

from clan_tf.data import Photo
from clan_tf.data.sources.source import members_by_label, shuffled_members


def stratified(photos: Sequence[Photo], count: int) -> list[Photo]:
    """Samples `count` photos, or all if there are fewer: from the classes in turn, at random within each."""
    members = members_by_label([photo.label for photo in photos])
    queues = [shuffled_members(indices, 0, label) for label, indices in members.items()]
    in_turn = [queue[turn] for turn in range(max(map(len, queues))) for queue in queues if turn < len(queue)]
    return [photos[index] for index in sorted(in_turn[:count])]
