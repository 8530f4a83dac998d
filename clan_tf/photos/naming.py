"""What the name of a file or folder says: hidden, the system's own, a document, or a format that isn't decoded."""

import re
from pathlib import Path
from typing import Literal

from clan_tf.errors import counted
from clan_tf.photos.formats import format_of

Reason = Literal["hidden", "system", "document", "special", "repeated", "loose", "unlabelled", "unused", "not_decoded"]
"""Why a file or folder among the photos isn't used."""

REASONS: dict[Reason, tuple[str, str, str]] = {
    "hidden": ("hidden file", "hidden folder", ""),
    "system": ("system file", "system folder", ""),
    "document": ("file", "folder", " with the name of a document"),
    "special": ("special file", "special folder", " (pipe, socket or device)"),
    "repeated": ("link", "link", " to a folder that is read already or holds the link"),
    "loose": ("photo", "folder", " beside the class folders"),
    "unlabelled": ("photo", "folder", " of a split without class folders"),
    "unused": ("photo", "folder", " beside the splits"),
    "not_decoded": ("photo", "folder", " in a format that isn't decoded (convert to JPEG or PNG)"),
}
"""For each reason a file of that kind, a folder of that kind, and what follows the noun."""

DOCUMENTS = (
    *(".txt", ".md", ".rst", ".rtf", ".tex", ".pdf", ".doc", ".docx", ".odt", ".ppt", ".pptx", ".odp", ".pages"),
    *(".csv", ".tsv", ".xls", ".xlsx", ".ods", ".numbers", ".parquet", ".db", ".sqlite", ".log", ".ini", ".cfg"),
    *(".json", ".jsonl", ".xml", ".yaml", ".yml", ".toml", ".html", ".htm", ".css", ".js", ".py", ".ipynb", ".sh"),
    *(".mat", ".npy", ".npz", ".pkl", ".h5", ".hdf5", ".pt", ".pth", ".keras", ".tflite", ".onnx", ".tfrecord"),
    *(".xmp", ".aae", ".thm", ".lnk", ".url", ".webloc", ".torrent", ".md5", ".sha256", ".exe", ".bat"),
    *(".lst", ".names", ".rec", ".idx", ".bin", ".pb", ".ckpt", ".safetensors", ".arrow", ".feather", ".lmdb"),
    *(".geojson", ".srt", ".bak", ".part", ".tmp"),
    *(".zip", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".tar", ".7z", ".rar", ".iso"),
    *(".mp3", ".wav", ".m4a", ".ogg", ".flac", ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg"),
    *(".wmv", ".3gp"),
)
"""Files that people keep beside photos. A file of any other name is a photo, or a broken one."""
_DOCUMENT_NAMES = ("readme", "license", "licence", "copying", "changelog", "authors", "makefile")

_SYSTEM_FOLDERS = frozenset(
    (
        *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@tmp", "__macosx", "$recycle.bin"),
        *("recycler", "recycled", "system volume information", "lost+found", "network trash folder"),
        *("temporary items", "__pycache__"),
    )
)
_SYSTEM_FILES = frozenset(
    (
        *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini", "zbthumbnail.info"),
        *("icon\r", "desktop db", "desktop df", "thumbs.db:encryptable", "pspbrwse.jbf"),
    )
)
"""In lower case; what macOS, Windows, Linux, network drives and photo programs leave among files."""
_SYSTEM_PATTERN = re.compile(r"synofile_thumb.*|.*@syno(eastream|resource)|.*:zone\.identifier", re.IGNORECASE)

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp")
NOT_DECODED = (
    *(".heic", ".heif", ".hif", ".avif", ".jxl", ".jp2", ".j2k", ".jpf", ".tif", ".tiff", ".psd", ".xcf", ".svg"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw", ".raw"),
)
"""Formats of photos that have to be converted first."""


def folder_reason(name: str) -> Reason | None:
    """Explains why a folder of this name is left out with all its contents; `None` if it isn't."""
    if name.startswith("."):
        return "hidden"
    return "system" if name.lower() in _SYSTEM_FOLDERS else None


def file_reason(name: str) -> Reason | None:
    """Explains why a file of this name is left out; `None` if it is a photo, whatever its suffix."""
    if name.startswith("."):
        return "hidden"
    if name.lower() in _SYSTEM_FILES or _SYSTEM_PATTERN.fullmatch(name):
        return "system"
    is_document = Path(name).suffix.lower() in DOCUMENTS or name.lower() in _DOCUMENT_NAMES
    return "document" if is_document else None


def is_not_decoded(path: Path) -> bool:
    """Checks whether a file has the suffix of a format that isn't decoded, and no content of one that is."""
    if path.suffix.lower() not in NOT_DECODED:
        return False
    try:
        with path.open("rb") as file:
            return format_of(file.read(16)) is None
    except OSError:
        return False


def described(reason: Reason, files: int, folders: int, inside: int) -> str:
    """Describes the counts of one reason: `3 hidden files, 1 hidden folder with 12 files`."""
    file, folder, suffix = REASONS[reason]
    parts = [f"{counted(files, file)}{suffix}"] if files else []
    parts += [f"{counted(folders, folder)}{suffix} with {counted(inside, 'file')}"] if folders else []
    return ", ".join(parts)
