"""The values of `data.source`: the layout that each expects, and what it gives."""

from dataclasses import dataclass

_CUT = "from the data, or cut by data.test_fraction and data.validation_fraction"
_OFFICIAL = "the official train and test; val is cut from train"


@dataclass(frozen=True)
class SourceFacts:
    """What users need to know about a source before they choose it.

    Attributes:
        layout: what `data.root` holds.
        splits: where its splits come from.
        boxes: whether its photos can be cropped to boxes, by `data.crop_to_box`.
        levels: the values of `data.level` among which its classes can be chosen.
        keys: further keys of the section `data` that are for this source alone.
        extra: the extra of the package that it needs.
    """

    layout: str
    splits: str
    boxes: bool = False
    levels: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    extra: str | None = None


SOURCES: dict[str, SourceFacts] = {
    "folders": SourceFacts("train/CLASS/…, test/CLASS/… and perhaps val/; or CLASS/…", _CUT),
    "csv": SourceFacts(
        "the photos of a table path,label[,split], which is data.csv or ROOT/photos.csv", _CUT, keys=("csv",)
    ),
    "cub": SourceFacts(
        "CUB-200-2011: images.txt, image_class_labels.txt, train_test_split.txt, classes.txt, images/",
        _OFFICIAL,
        boxes=True,
    ),
    "cars": SourceFacts(
        "Stanford Cars: cars_annos.mat, car_ims/; or devkit/, cars_train/, cars_test/; or folders of classes",
        _OFFICIAL,
        boxes=True,
    ),
    "aircraft": SourceFacts(
        "FGVC-Aircraft: data/ of fgvc-aircraft-2013b, or the folder above it",
        _OFFICIAL,
        boxes=True,
        levels=("variant", "family", "manufacturer"),
    ),
    "tfds:NAME": SourceFacts(
        "prepared data sets of TensorFlow Datasets; by default TFDS_DATA_DIR",
        "those of the data set, or cut by data.test_fraction and data.validation_fraction",
        boxes=True,
        extra="data",
    ),
    "records": SourceFacts(
        "what `clan-tf data pack` wrote, or the version folder of a TFDS data set; gs://…, too",
        "those that were packed",
        boxes=True,
        extra="data",
    ),
    "generated": SourceFacts(
        "nothing: the demo's birds are drawn",
        "as many drawings as data.generated_photos says",
        keys=("generated_photos",),
    ),
}
"""By the value of `data.source`."""
