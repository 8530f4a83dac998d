"""JPEGs: which parts of a file make up the picture, and whether its data is complete, as libjpeg sees it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import simplejpeg

from clan_tf.photos.containers import END_OF_IMAGE, START_OF_SCAN, Part, jpeg_segments

FRAMES = {0xC0, 0xC1, 0xC2}
"""Baseline, extended and progressive; other start-of-frame markers are of JPEGs that browsers don't decode either."""
_PROGRESSIVE, _START_OF_IMAGE = 0xC2, 0xD8
_OTHER_FRAMES = {*range(0xC3, 0xD0)} - {0xC4, 0xC8, 0xCC}
_DAMAGE = ("Corrupt JPEG data", "Premature end", "Inconsistent progression")
"""How libjpeg begins its warnings of wrong or missing picture data; others are of odd but harmless headers."""
_JFIF, _ADOBE = (0xE0, b"JFIF\0", 14), (0xEE, b"Adobe", 12)
"""Marker, beginning and least length of what says how colours are stored; libjpeg takes no notice of shorter data."""
_JFIF_VERSION, _ADOBE_TRANSFORM = 5, 11
"""Where these stand in the data."""
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""What can't stand within a scan's data."""


@dataclass(frozen=True)
class EssentialJpeg:
    """A JPEG's first picture without metadata, which may be damaged without harm.

    Attributes:
        content: the file without them. Odd values that decoders pass over with a warning are the usual ones here,
            because of several warnings libjpeg reports only the first.
        has_adobe: whether Adobe's marker is there.
        is_tidy: whether everything kept was in order, so that decoders don't warn about the header.
        frame: the marker of its frame.
        bits: of a sample.
    """

    content: bytes
    has_adobe: bool
    is_tidy: bool
    frame: int
    bits: int

    @property
    def why_not_decoded(self) -> str | None:
        """Why it isn't decoded even though it may be whole, and what to do."""
        advice = "convert it, for example: magick PHOTO PHOTO.png"
        if self.frame in _OTHER_FRAMES:
            return f"a lossless, hierarchical or arithmetically coded JPEG isn't decoded; {advice}"
        return f"a JPEG of {self.bits} bits isn't decoded; {advice}" if self.bits != 8 else None


def essential_jpeg(content: bytes) -> EssentialJpeg:
    """Extracts the parts of a JPEG that make up its picture.

    Decoders ignore what follows the first picture, such as a camera's second one. Stray bytes between segments are
    left out; decoders skip them and warn.

    Raises:
        ValueError: if it has no picture data.
    """
    parts = list(jpeg_segments(content))
    header = next((part for part in parts if part.name[0] in FRAMES | _OTHER_FRAMES), None)
    if header is None:
        raise ValueError("no frame header")
    frame, components = header.name[0], content[header.start + 5]
    kept, has_adobe, is_tidy, place = [content[:2]], False, True, 2
    for part in parts:
        has_adobe = has_adobe or _is_named(content, part, *_ADOBE)
        is_tidy = is_tidy and part.whole_start == place
        place = part.whole_end
        if _makes_the_picture(content, part):
            stored = content[part.whole_start : part.whole_end]
            kept.append(_usual(stored, content, part, frame, components))
            is_tidy = is_tidy and kept[-1] == stored
    return EssentialJpeg(b"".join([*kept, content[place:]]), has_adobe, is_tidy, frame, content[header.start])


def _makes_the_picture(content: bytes, part: Part) -> bool:
    is_metadata = 0xE0 <= part.name[0] <= 0xEF or part.name[0] == 0xFE
    return not is_metadata or _is_named(content, part, *_JFIF) or _is_named(content, part, *_ADOBE)


def _is_named(content: bytes, part: Part, marker: int, name: bytes, length: int) -> bool:
    return part.name[0] == marker and part.end - part.start >= length and content.startswith(name, part.start)


def _usual(stored: bytes, content: bytes, part: Part, frame: int, components: int) -> bytes:
    """Returns a segment in which values that libjpeg warns about are replaced by the usual ones it assumes anyway."""
    usual, head = bytearray(stored), part.start - part.whole_start
    if _is_named(content, part, *_JFIF) and usual[head + _JFIF_VERSION] not in (1, 2):
        usual[head + _JFIF_VERSION] = 1
    if _is_named(content, part, *_ADOBE) and components in (3, 4):
        place, other = head + _ADOBE_TRANSFORM, {3: 1, 4: 2}[components]
        usual[place] = usual[place] if usual[place] in (0, other) else other
    if part.name[0] == START_OF_SCAN and frame != _PROGRESSIVE and len(usual) >= head + 6:
        usual[-3:] = bytes([0, 63, 0])
    return bytes(usual)


def verdict(jpeg: EssentialJpeg, mode: str) -> tuple[str | None, bool]:
    """Returns what is wrong with a JPEG's picture data, if anything, and whether libjpeg decodes it without a warning.

    libjpeg continues after wrong data and only warns; `simplejpeg` reports its first warning. Decoding at an eighth of
    the size is enough.

    Args:
        jpeg: the file.
        mode: how pixels are stored, by Pillow's names.
    """
    warning = _libjpeg_warning(jpeg.content, mode)
    if warning is not None and warning.startswith(_DAMAGE):
        reason = warning.removeprefix("Corrupt JPEG data: ")
        is_cut = "remature end" in warning
        what = "truncated: its picture data ends early" if is_cut else "damaged: its picture data is corrupt"
        return f"{what} (libjpeg: {reason})", False
    scans = list(_scans(jpeg.content)) if warning is not None or jpeg.frame == _PROGRESSIVE else None
    if scans is not None and scans[-1] != b"":
        return "truncated: its picture data ends early (it has no end marker)", False
    if scans is not None and jpeg.frame == _PROGRESSIVE and not _are_complete(scans[:-1], _component_numbers(jpeg)):
        return "truncated: its picture data ends early (the last of its progressive scans are missing)", False
    return None, warning is None


def _libjpeg_warning(content: bytes, mode: str) -> str | None:
    try:
        simplejpeg.decode_jpeg(content, "CMYK" if mode == "CMYK" else "GRAY", min_factor=8)
    except ValueError as error:
        return str(error)
    return None


def _scans(content: bytes) -> Iterator[bytes]:
    """Yields the data of each scan's header, and an empty one for the end marker if there is one."""
    *_, first = jpeg_segments(content)
    yield content[first.start : first.end]
    place = first.end
    while found := _MARKER.search(content, place):
        marker, start = content[found.start() + 1], found.end() + 2
        if marker in (_START_OF_IMAGE, END_OF_IMAGE):  # another picture may begin before this one has ended
            yield from [b""] * (marker == END_OF_IMAGE)
            return
        place = found.end() + max(2, int.from_bytes(content[found.end() : start]))
        if marker == START_OF_SCAN:
            yield content[start:place]


def _component_numbers(jpeg: EssentialJpeg) -> bytes:
    header = next(part for part in jpeg_segments(jpeg.content) if part.name[0] == jpeg.frame)
    return jpeg.content[header.start + 6 : header.end : 3]


def _are_complete(scans: list[bytes], numbers: bytes) -> bool:
    """Checks whether every coefficient of every component is present to its last bit."""
    missing = {(number, place) for number in numbers for place in range(64)}
    for scan in scans:
        first, last, bits = scan[-3:]
        if bits & 15 == 0:
            missing -= {(number, place) for number in scan[1:-3:2] for place in range(first, last + 1)}
    return not missing
