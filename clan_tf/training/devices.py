"""Where a training run computes: the devices of this process, and the other processes of the run."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf

from clan_tf.config import TrainingConfig
from clan_tf.config.section import AUTO
from clan_tf.config.training import Precision
from clan_tf.data.sources.content import plain_message
from clan_tf.errors import CheckFailed, UserError


def use_device(device: str) -> None:
    """Makes only the devices of `training.device` visible to TensorFlow.

    Raises:
        UserError: if there is no such GPU, or TensorFlow has already started with other devices.
    """
    if device == "auto":
        return
    gpus = tf.config.list_physical_devices("GPU")
    if device.startswith("gpu") and not gpus:
        raise UserError(f"training.device: is {device}, but TensorFlow sees no GPU. Use auto, or install clan-tf[gpu].")
    numbers = [int(number) for number in device.partition(":")[2].split(",") if number]
    missing = [number for number in numbers if number >= len(gpus)]
    if missing:
        raise UserError(f"training.device: there is no GPU {missing[0]}; TensorFlow sees {len(gpus)}, from 0 on.")
    chosen = [gpus[number] for number in dict.fromkeys(numbers)] if numbers else gpus if device == "gpu" else []
    if tf.config.get_visible_devices("GPU") == chosen:
        return
    try:
        tf.config.set_visible_devices(chosen, "GPU")
    except RuntimeError as error:
        raise UserError(f"training.device: {device} can't be chosen, because TensorFlow is already running.") from error


def choose_devices(training: TrainingConfig) -> int:
    """Makes the run's devices visible to TensorFlow, and counts those that share a batch, without joining the others.

    Each process of a run is taken to have as many devices as this one, as `MultiWorkerMirroredStrategy` does.

    Raises:
        UserError: if there aren't such devices, or the batch can't be divided among them.
    """
    use_device(training.device)
    resolver = cluster_resolver(training.cluster)
    processes = sum(map(len, resolver.cluster_spec().as_dict().values())) if resolver else 1
    replicas = processes * max(1, len(tf.config.get_visible_devices("GPU")))
    require_divisible(training, replicas)
    return replicas


def runs_with_others(training: TrainingConfig) -> bool:
    """Returns whether several processes train together; raises a `UserError` if their list can't be used."""
    return cluster_resolver(training.cluster) is not None


def make_strategy(training: TrainingConfig, note: Callable[[str], None] = lambda text: None) -> tf.distribute.Strategy:
    """Makes the strategy for the available processes and GPUs; to be called before TensorFlow computes anything.

    `MultiWorkerMirroredStrategy` where `TF_CONFIG` or SLURM names several processes, `MirroredStrategy` for several
    GPUs, and TensorFlow's default for one device.

    Raises:
        UserError: if the batch can't be divided among the devices, or `TF_CONFIG` can't be used.
    """
    resolver = cluster_resolver(training.cluster)
    gpus = len(tf.config.get_visible_devices("GPU"))
    if resolver:
        strategy = _join(resolver, note)
    elif gpus > 1:
        strategy = tf.distribute.MirroredStrategy()
    else:
        strategy = tf.distribute.get_strategy()
    require_divisible(training, strategy.num_replicas_in_sync)
    return strategy


def require_agreement(strategy: tf.distribute.Strategy, **facts: str | int) -> None:
    """Checks that all processes of a training run have read the same; to be called by each of them.

    Raises:
        CheckFailed: on every process, if any fact differs: otherwise they would train as if nothing were wrong.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return
    digests = [int(hashlib.sha256(repr(fact).encode()).hexdigest()[:7], 16) for fact in facts.values()]
    own = strategy.run(lambda: tf.constant([digests], tf.int32))
    everywhere = strategy.gather(own, axis=0).numpy()
    differing = [name for name, column in zip(facts, everywhere.T, strict=True) if len(set(column)) > 1]
    if differing:
        raise CheckFailed(
            f"The processes of this run don't agree on: {', '.join(differing)}. Give all of them the same config "
            "and photos, and a --run-dir that all of them see."
        )


def least_everywhere(strategy: tf.distribute.Strategy, number: int) -> int:
    """Returns the smallest of the numbers that the processes of a run give; to be called by each of them."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return number
    own = strategy.run(lambda: tf.constant([number], tf.int64))
    return int(strategy.gather(own, axis=0).numpy().min())


def require_divisible(training: TrainingConfig, replicas: int) -> None:
    """Raises a `UserError` unless each device gets the same number of photos at a time."""
    parts = replicas * training.parts
    if training.batch_size != AUTO and training.batch_size % parts:
        of = f" in {training.parts} parts each" if training.parts > 1 else ""
        raise UserError(
            f"training.batch_size: {training.batch_size} can't be divided among {replicas} devices{of}. "
            f"Use a multiple of {parts}, or other devices: training.device."
        )


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether this process is the one that writes files."""
    resolver = strategy.cluster_resolver
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return True
    has_chief = "chief" in resolver.cluster_spec().jobs
    return resolver.task_type == "chief" if has_chief else resolver.task_id == 0


def choose_precision(precision: Precision) -> Precision:
    """Resolves `auto` to the half precision that this hardware accelerates, or to float32.

    bfloat16 on GPUs of compute capability 8.0 or higher and on CPUs with AVX512-BF16 or AMX, float16 on GPUs of 7.x.
    """
    if precision != "auto":
        return precision
    capabilities = [
        tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))
        for gpu in tf.config.get_visible_devices("GPU")
    ]
    if not capabilities:
        return "mixed_bfloat16" if _cpu_flags() & {"avx512_bf16", "amx_bf16"} else "float32"
    least = min(capabilities)
    return "mixed_bfloat16" if least >= (8, 0) else "mixed_float16" if least >= (7, 0) else "float32"


@contextmanager
def precision_scope(precision: Precision) -> Iterator[None]:
    """Makes layers created inside compute in `precision`; their weights stay float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def cluster_resolver(cluster: str) -> tf.distribute.cluster_resolver.ClusterResolver | None:
    """Finds the other processes from `TF_CONFIG` or SLURM's variables; returns `None` if this one is alone.

    Raises:
        UserError: if these can't be used.
    """
    resolver = _slurm_resolver() if cluster == "slurm" else _tf_config_resolver()
    alone = resolver is None or sum(map(len, resolver.cluster_spec().as_dict().values())) < 2
    return None if alone else resolver


def _join(
    resolver: tf.distribute.cluster_resolver.ClusterResolver, note: Callable[[str], None]
) -> tf.distribute.Strategy:
    jobs = resolver.cluster_spec().as_dict()
    own = jobs[resolver.task_type][resolver.task_id]
    note(f"waiting for the other processes: {', '.join(sum(jobs.values(), []))}; this one is {own}")
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    except tf.errors.UnknownError as error:
        raise UserError(f"TF_CONFIG: this process can't listen at {own}: {plain_message(error)}.") from error


def _slurm_resolver() -> tf.distribute.cluster_resolver.ClusterResolver:
    resolvers = tf.distribute.cluster_resolver
    try:
        if shutil.which("nvidia-smi"):
            # It makes only its own GPUs visible to each process of a node.
            return resolvers.SlurmClusterResolver()
        # The resolver has no way to express that there are no GPUs.
        slurm = resolvers.SlurmClusterResolver(gpus_per_node=2**16, gpus_per_task=1, auto_set_gpu=False)
        spec = slurm.cluster_spec()
        return resolvers.SimpleClusterResolver(
            spec, task_type=slurm.task_type, task_id=slurm.task_id, num_accelerators={"GPU": 0}, rpc_layer="grpc"
        )
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"training.cluster: is slurm, but SLURM's variables can't be used: {error}. Start with srun, or use auto."
        ) from error


def _tf_config_resolver() -> tf.distribute.cluster_resolver.ClusterResolver | None:
    text = os.environ.get("TF_CONFIG", "")
    if not text.strip():
        return None
    try:
        jobs, task = json.loads(text)["cluster"], json.loads(text)["task"]
        found = task["index"] in range(len(jobs[task["type"]])) and set(jobs) <= {"chief", "worker"}
    except (ValueError, LookupError, TypeError):
        found = False
    if not found:
        raise UserError(
            'TF_CONFIG: must be like {"cluster": {"worker": ["HOST:PORT", …]}, "task": {"type": "worker", "index": 0}}'
            f", with no jobs other than worker and chief; received {text}."
        )
    return tf.distribute.cluster_resolver.TFConfigClusterResolver()


def _cpu_flags() -> set[str]:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            line = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return set()
    return set(line.split())
