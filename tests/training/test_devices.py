"""Which devices and processes a training run computes on."""

import json

import pytest
import tensorflow as tf

from clan_tf.config import TrainingConfig
from clan_tf.errors import UserError
from clan_tf.training.devices import choose_precision, cluster_resolver, make_strategy, require_divisible, use_device

TWO = {"worker": ["a:1", "b:1"]}


def test_automatic_precision_is_one_that_can_be_set() -> None:
    assert choose_precision("auto") in ("float32", "mixed_bfloat16")
    assert choose_precision("mixed_float16") == "mixed_float16"


def test_automatic_precision_follows_the_weakest_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    capabilities = {"a": (9, 0), "b": (7, 5), "c": (6, 1)}
    shown: list[str] = []
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: shown)
    monkeypatch.setattr(
        tf.config.experimental, "get_device_details", lambda gpu: {"compute_capability": capabilities[gpu]}
    )
    for gpu, expected in (("a", "mixed_bfloat16"), ("b", "mixed_float16"), ("c", "float32")):
        shown.append(gpu)
        assert choose_precision("auto") == expected


@pytest.mark.parametrize("device", ["gpu", "gpu:1"])
def test_a_gpu_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(UserError, match=r"training\.device: .*TensorFlow sees no GPU"):
        use_device(device)


def test_without_other_processes_or_gpus_the_default_strategy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    use_device("cpu")
    assert make_strategy(TrainingConfig()) is tf.distribute.get_strategy()


def test_a_batch_that_cannot_be_divided_is_refused() -> None:
    require_divisible(TrainingConfig(batch_size=36, accumulation=6), 2)
    with pytest.raises(UserError, match="36 can't be divided among 4 devices in 6 parts each. Use a multiple of 24"):
        require_divisible(TrainingConfig(batch_size=36, accumulation=6), 4)


def test_tf_config_names_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": TWO, "task": {"type": "worker", "index": 1}}))
    resolver = cluster_resolver("auto")
    assert (resolver.task_type, resolver.task_id) == ("worker", 1)
    monkeypatch.setenv(
        "TF_CONFIG", json.dumps({"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}})
    )
    assert cluster_resolver("auto") is None, "one process is alone"


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"cluster": 3, "task": {"type": "worker", "index": 0}}',
        json.dumps({"cluster": TWO}),
        json.dumps({"cluster": TWO, "task": {"type": "worker", "index": 2}}),
        json.dumps({"cluster": {**TWO, "ps": ["c:1"]}, "task": {"type": "ps", "index": 0}}),
    ],
)
def test_a_tf_config_that_cannot_be_used_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match="TF_CONFIG: must be like"):
        cluster_resolver("auto")


def test_slurm_is_read_by_tensorflows_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_STEP_NODELIST", "node[1-2]")
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", "1(x2)")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    resolver = cluster_resolver("slurm")
    assert resolver.cluster_spec().as_dict() == {"worker": ["node1:8888", "node2:8888"]}
    assert (resolver.task_type, resolver.task_id) == ("worker", 1)
    monkeypatch.delenv("SLURM_PROCID")
    with pytest.raises(UserError, match="Start with srun"):
        cluster_resolver("slurm")
