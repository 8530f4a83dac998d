"""Runs the reproductions of a folder of faults through the command line and prints what is right and what isn't.

python tests/tools/faults FOLDER [--only data-01,attack-05] [--work FOLDER] [--jobs 2] [--json]

FOLDER holds a folder for each case (`data-01`, `decoding/03`, `attack-05`, …), `tiny.yaml` and `prepare.py`. A case
makes its input with its own `make.py`, or builds what its script describes. Exits with 1 if any case is wrong. The tiny
run and its exports, which the cases share, are kept in the folder of `--work` and used again. Linux with `gcc`.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cases_answers
import cases_attacks
import cases_data
import cases_decoding
import cases_files
from bench import Bench, Verdict, prepare

MODULES = (cases_data, cases_answers, cases_decoding, cases_attacks, cases_files)
Case = Callable[[Bench], Verdict]


def cases() -> dict[str, Case]:
    """The function of every case by its folder: `data_01` is the one of `data-01`."""
    found = {}
    for module in MODULES:
        for name, function in vars(module).items():
            kind, _, number = name.partition("_")
            if number.isdigit():
                found[f"{kind}/{number}" if kind == "decoding" else f"{kind}-{number}"] = function
    return found


def right(case: Case) -> str:
    """What is right, as the case says itself."""
    return " ".join(case.__doc__.split())


def run_case(name: str, case: Case, faults: Path, shared: Path) -> dict[str, Any]:
    """One row of the table."""
    with tempfile.TemporaryDirectory(prefix="clan-tf-fault-") as folder:
        bench = Bench(faults, shared, Path(folder))
        try:
            verdict = case(bench)
        except Exception as error:  # noqa: BLE001
            verdict = Verdict("the case itself failed", (f"{type(error).__name__}: {error}",))
        wrong = [*verdict.wrong, *(fault for ended in bench.ended for fault in ended.faults())]
        details = [{"command": run.command, "code": run.code, "text": run.text[-1500:]} for run in bench.ended]
    row = {"case": name, "right": right(case), "found": verdict.found, "wrong": wrong}
    return row | ({"commands": details} if wrong else {})


def print_row(row: dict[str, Any]) -> None:
    """One row for people, as soon as it is known."""
    verdict = f"WRONG: {'; '.join(row['wrong'])}" if row["wrong"] else "right"
    cells = (row["case"], row["right"], row["found"], verdict)
    print("| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |", flush=True)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the folder of reproductions")
    parser.add_argument("--only", default="", help="some of the cases, with commas between")
    parser.add_argument("--work", type=Path, help="where what the cases share is kept")
    parser.add_argument("--jobs", type=int, default=1, help="how many cases run at a time")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the table")
    return parser.parse_args(arguments)


def main() -> None:
    """Runs the cases."""
    options, known = parse(), cases()
    chosen = {name: known[name] for name in options.only.split(",") if name} or known
    there = {name: case for name, case in chosen.items() if (options.folder / name).is_dir()}
    with tempfile.TemporaryDirectory(prefix="clan-tf-faults-") as temporary:
        shared = (options.work or Path(temporary)).resolve()
        prepare(options.folder.resolve(), shared)
        if not options.json:
            print("| case | right | found | verdict |\n|---|---|---|---|", flush=True)
        with ThreadPoolExecutor(options.jobs) as pool:
            rows = pool.map(lambda item: run_case(*item, options.folder.resolve(), shared), there.items())
            finished = []
            for row in rows:
                finished.append(row)
                if not options.json:
                    print_row(row)
    if options.json:
        print(json.dumps(finished, indent=1, ensure_ascii=True))
    missing = sorted(set(chosen) - set(there))
    wrong = [row["case"] for row in finished if row["wrong"]]
    print(f"{len(finished)} cases, {len(wrong)} wrong: {' '.join(wrong) or 'none'}", file=sys.stderr)
    if wrong or missing:
        sys.exit(f"not in {options.folder}: {' '.join(missing)}" if missing else 1)


if __name__ == "__main__":
    main()
