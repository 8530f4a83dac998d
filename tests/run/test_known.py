"""The photos that a run's first weights know."""

from pathlib import Path

import pytest

from clan_tf.errors import UserError
from clan_tf.run import RunDirectory
from clan_tf.run.known import KnownPhotos, notes_on_start, read_known, write_known

TRAINED, CHOSEN, NEW = "a" * 64, "b" * 64, "c" * 64
KNOWN = KnownPhotos(frozenset([TRAINED]), frozenset([CHOSEN]))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert read_known(run) == KnownPhotos()
    write_known(run, KnownPhotos())
    assert not run.init_photos.exists()
    write_known(run, KNOWN)
    assert read_known(run) == KNOWN
    run.init_photos.write_text("split\ntrain\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"init_photos\.csv.*no column 'sha256'.*Restore it"):
        read_known(run)


def test_a_photo_that_was_trained_on_once_stays_known_by_training() -> None:
    later = KNOWN.with_run(train=[CHOSEN], val=[TRAINED, NEW])
    assert later == KnownPhotos(frozenset([TRAINED, CHOSEN]), frozenset([NEW]))


@pytest.mark.parametrize(
    ("split", "digests", "said"),
    [
        ("test", [NEW], None),
        ("test", [TRAINED, NEW], "1 of 2 test photos is a train photo of M: the accuracy on them is higher than on"),
        ("test", [TRAINED, TRAINED, CHOSEN], "2 of 3 test photos are train photos of M, and 1 its validation photo: "),
        ("test", [CHOSEN, NEW], "1 of 2 test photos is a validation photo of M: the accuracy on them is higher"),
        ("all", [TRAINED, TRAINED], "2 of 2 photos are train photos of M: "),
        ("val", [CHOSEN], None),
        ("val", [TRAINED, TRAINED, CHOSEN], "2 of 3 validation photos are train photos of M: the best epoch, temp"),
    ],
)
def test_known_photos_are_counted_with_what_follows(split: str, digests: list[str], said: str | None) -> None:
    note = KNOWN.note(digests, split, "M")
    assert note is None if said is None else note is not None and note.startswith(said)


def test_of_photos_that_the_run_was_trained_on_itself_nothing_more_is_said(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    write_known(run, KNOWN)
    assert notes_on_start(run, [TRAINED, NEW], "all", own=[TRAINED]) == []
    assert len(notes_on_start(run, [TRAINED, NEW], "all", own=[NEW])) == 1
