"""The conformance table of photo files: every format, mode, depth, source of orientation and kind of damage.

What must be seen of each is made without this project: PNGs, GIFs and BMPs by writers of their own from known pixels,
JPEGs of plain blocks by the formulas of their standard, other JPEGs and lossy WebPs by Pillow before anything is added
to them, once it is sure that they are near what was drawn.
"""

from itertools import chain

from helpers.photo_table.jpegs import jpeg_files
from helpers.photo_table.others import bmp_files, gif_files, other_files, webp_files
from helpers.photo_table.parts import PhotoFile
from helpers.photo_table.pngs import png_files


def photo_files() -> list[PhotoFile]:
    """All rows, each of another name."""
    rows = list(chain(png_files(), jpeg_files(), gif_files(), bmp_files(), webp_files(), other_files()))
    named = [PhotoFile(f"{number:03}_{row.name}", *list(vars(row).values())[1:]) for number, row in enumerate(rows)]
    assert len(named) > 500
    return named
