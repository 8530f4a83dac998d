"""Labels of a data set in the order of another list of classes, such as a model's: classes are names."""

from collections.abc import Sequence
from dataclasses import replace

from clan_tf.data.sources.class_names import normal_name
from clan_tf.data.sources.source import Photo, Source


def classes_unknown_to(class_names: Sequence[str], source: Source) -> list[str]:
    """Returns the classes of a source's photos that aren't among `class_names`, in the source's order.

    Names are compared without spaces around them and in Unicode's composed form. Classes without photos don't count.
    """
    known = {normal_name(name) for name in class_names}
    labels = {photo.label for photos in source.splits.values() for photo in photos}
    return [
        source.class_names[label] for label in sorted(labels) if normal_name(source.class_names[label]) not in known
    ]


def labelled_by_name(source: Source, class_names: Sequence[str]) -> Source:
    """Returns the source with the label that each photo's class has in `class_names`, which may hold further classes.

    Photos of no class (`unknown`) keep the label -1; `unused` photos are left out.

    Args:
        source: the data; `class_names` hold every class that its photos have (`classes_unknown_to`).
        class_names: in the order of the new labels.
    """
    if tuple(class_names) == source.class_names:
        return source
    labels = {normal_name(name): label for label, name in enumerate(class_names)}

    def labelled(photo: Photo) -> Photo:
        return replace(photo, label=labels[normal_name(source.class_names[photo.label])])

    splits = {split: [labelled(photo) for photo in photos] for split, photos in source.splits.items()}
    return replace(source, class_names=tuple(class_names), splits=splits, unused={})
