"""The photos that a run's first weights come from, if it started from a trained model."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from clan_tf.data.sources.source import photo_of
from clan_tf.errors import counted
from clan_tf.files import read_rows, write_csv
from clan_tf.run.directory import RunDirectory

COLUMNS = ("split", "sha256")
STARTED_FROM = "the model that the run started from"
_FOR_ACCURACY = "the accuracy on them is higher than on new photos"
_FOR_CHOICES = "the best epoch, temperatures and thresholds are chosen by photos that the model knows"


@dataclass(frozen=True)
class KnownPhotos:
    """The contents of photos that a model has seen, by the SHA-256 of the encoded photo in hexadecimal.

    Attributes:
        train: those that it was trained on, or that the models were which it comes from.
        val: others, by which their best epochs were chosen.
        unknown: why photos may be missing here; `None` if none are.
    """

    train: frozenset[str] = frozenset()
    val: frozenset[str] = frozenset()
    unknown: str | None = None

    def with_run(self, train: Collection[str], val: Collection[str]) -> "KnownPhotos":
        """Returns what is known after a run on these photos."""
        all_train = self.train | set(train)
        return KnownPhotos(all_train, (self.val | set(val)) - all_train, self.unknown)

    def trained_on(self, digests: Sequence[str]) -> int:
        """Counts the photos among some that were trained on."""
        return sum(digest in self.train for digest in digests)

    def note(self, digests: Sequence[str], split: str, model: str = STARTED_FROM) -> str | None:
        """Says how many of a split's photos are known, and what follows; `None` if that changes nothing.

        Validation photos may have chosen the epoch of both models.

        Args:
            digests: of the photos.
            split: `val`, `test` or `all`.
            model: what to call the model that knows them.
        """
        train = self.trained_on(digests)
        val = 0 if split == "val" else sum(digest in self.val for digest in digests)
        photos = counted(len(digests), photo_of("validation" if split == "val" else split))
        if train:
            others = f", and {val:,} its validation photo{'' if val == 1 else 's'}" if val else ""
            known = f"{train:,} of {photos} {_are(train, 'train photo')} of {model}{others}"
            return f"{known}: {_FOR_CHOICES if split == 'val' else _FOR_ACCURACY}"
        return f"{val:,} of {photos} {_are(val, 'validation photo')} of {model}: {_FOR_ACCURACY}" if val else None


def _are(number: int, noun: str) -> str:
    return f"is a {noun}" if number == 1 else f"are {noun}s"


def read_known(run: RunDirectory) -> KnownPhotos:
    """Reads what a run's first weights know; nothing if it didn't start from a model, or an earlier version wrote it.

    Raises:
        UserError: if the file is damaged.
    """
    if not run.init_photos.is_file():
        return KnownPhotos()
    way_out = f"Restore it from a copy, or delete it: then nothing says which photos {STARTED_FROM} was trained on."
    rows = read_rows(run.init_photos, COLUMNS, way_out)
    train, val = (frozenset(row["sha256"] for row in rows if row["split"] == split) for split in ("train", "val"))
    return KnownPhotos(train, val)


def write_known(run: RunDirectory, known: KnownPhotos) -> None:
    """Writes what `read_known` reads, unless there are no photos."""
    rows = [(split, digest) for split in ("train", "val") for digest in sorted(getattr(known, split))]
    if rows:
        write_csv(run.init_photos, COLUMNS, rows)


def notes_on_start(run: RunDirectory, digests: Sequence[str], split: str, own: Collection[str] = ()) -> list[str]:
    """Returns a note if a run's first weights know photos that it is measured on.

    Args:
        run: the run.
        digests: of the photos.
        split: the split that they are, or `ALL`.
        own: contents that the run itself was trained on, of which nothing more is to be said.
    """
    known = read_known(run)
    note = KnownPhotos(known.train.difference(own), known.val.difference(own)).note(digests, split)
    return [note] if note else []
