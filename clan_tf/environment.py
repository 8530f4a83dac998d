"""Where a run was made: versions, devices, commit and command."""

import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import tensorflow as tf

from clan_tf.in_parallel import cores

PACKAGES = ("clan-tf", "tensorflow", "keras", "numpy")
INSTRUCTIONS = re.compile(r"(avx|amx|fma|sse4|asimd|sve|bf16|i8mm).*")
"""The instruction sets of a processor by which libraries choose their kernels."""
SETTINGS = (
    *("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE", "TF_ENABLE_ONEDNN_OPTS"),
    *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "TF_XLA_FLAGS", "XLA_FLAGS"),
    *("NVIDIA_TF32_OVERRIDE", "TF_CUDNN_USE_AUTOTUNE"),
)
"""Environment variables that change the last digits of a result."""


def describe_environment() -> dict[str, Any]:
    """Returns plain values for `environment.json`."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "working_directory": os.getcwd(),
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "devices": describe_devices(),
        "computing": describe_computing(),
    }


def describe_computing() -> dict[str, str]:
    """Returns what the last digits of a result depend on besides the experiment, as texts by name."""
    threads = tf.config.threading.get_intra_op_parallelism_threads() or cores()
    described = {
        "threads": str(threads),
        "processor": _cpu_facts().get("model name", platform.machine()),
        "instructions": " ".join(sorted(filter(INSTRUCTIONS.fullmatch, _cpu_flags()))),
        "settings": " ".join(f"{name}={os.environ[name]}" for name in SETTINGS if name in os.environ),
        "devices": ", ".join(describe_devices()),
    }
    return described | {name: _version(name) or "" for name in PACKAGES if name != "clan-tf"}


def describe_devices() -> list[str]:
    """Returns one text per device that TensorFlow computes on."""
    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    return [f"GPU {item.get('device_name', 'unknown')}" for item in details] or [f"CPU {platform.machine()}"]


def _cpu_flags() -> list[str]:
    facts = _cpu_facts()
    return (facts.get("flags") or facts.get("Features") or "").split()


def _cpu_facts() -> dict[str, str]:
    """Returns the facts that Linux reports of the first processor; none on other systems."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """Returns the commit of the checkout the package runs from, with `+changes` if any; `None` outside a checkout."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    commit = git("rev-parse", "HEAD")
    return f"{commit}+changes" if commit and git("status", "--porcelain") else commit
