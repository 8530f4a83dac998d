"""Files of users and of this project: read with limits, written completely or not at all.

Nothing is imported before it is used, so that photos are read with few packages.
"""

from typing import TYPE_CHECKING

from clan_tf.lazy import lazy_names

if TYPE_CHECKING:
    from clan_tf.files.markdown import markdown_table
    from clan_tf.files.plain_json import json_text, parse_json
    from clan_tf.files.reading import read_json, read_text
    from clan_tf.files.regular import (
        existing_parent,
        file_sha256,
        open_regular_file,
        read_regular_file,
        require_regular_file,
    )
    from clan_tf.files.tables import read_rows, write_csv, write_rows
    from clan_tf.files.tensorflow_errors import writing_error, written_by_tensorflow
    from clan_tf.files.user_tables import Row, UserTable, read_user_table
    from clan_tf.files.writable import require_file_or_nothing, require_folder_or_nothing, unwritable
    from clan_tf.files.writing import (
        exchanged_files,
        new_folder,
        new_or_filled_folder,
        only_process,
        replacing,
        write_json,
        write_text,
    )

_FILES = {
    "markdown": ("markdown_table",),
    "plain_json": ("json_text", "parse_json"),
    "regular": (
        *("existing_parent", "file_sha256", "open_regular_file", "read_regular_file"),
        "require_regular_file",
    ),
    "tables": ("read_rows", "write_csv", "write_rows"),
    "reading": ("read_json", "read_text"),
    "user_tables": ("Row", "UserTable", "read_user_table"),
    "tensorflow_errors": ("writing_error", "written_by_tensorflow"),
    "writable": ("require_file_or_nothing", "require_folder_or_nothing", "unwritable"),
    "writing": (
        *("exchanged_files", "new_folder", "new_or_filled_folder", "only_process", "replacing"),
        *("write_json", "write_text"),
    ),
}

__all__ = [
    "Row",
    "UserTable",
    "exchanged_files",
    "existing_parent",
    "file_sha256",
    "json_text",
    "markdown_table",
    "new_folder",
    "new_or_filled_folder",
    "only_process",
    "open_regular_file",
    "parse_json",
    "read_json",
    "read_regular_file",
    "read_rows",
    "read_text",
    "read_user_table",
    "replacing",
    "require_file_or_nothing",
    "require_folder_or_nothing",
    "require_regular_file",
    "unwritable",
    "write_csv",
    "write_json",
    "write_rows",
    "write_text",
    "writing_error",
    "written_by_tensorflow",
]
__getattr__, __dir__ = lazy_names(
    __name__, {name: f"{__name__}.{file}" for file, names in _FILES.items() for name in names}
)
