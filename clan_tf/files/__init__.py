"""Files of users and of this project: read with limits, written whole or not at all."""

from clan_tf.files.json_text import json_text, parse_json
from clan_tf.files.regular import open_regular_file, read_regular_file, require_regular_file
from clan_tf.files.tables import read_rows, write_csv
from clan_tf.files.writing import new_folder, only_process, read_json, read_text, replacing, write_json, write_text

__all__ = [
    "json_text",
    "new_folder",
    "only_process",
    "open_regular_file",
    "parse_json",
    "read_json",
    "read_regular_file",
    "read_rows",
    "read_text",
    "replacing",
    "require_regular_file",
    "write_csv",
    "write_json",
    "write_text",
]
