"""The network on a GPU through Keras' JAX backend, beside the same network in PyTorch; TensorFlow isn't needed.

`python -m clan_tf.benchmark.accelerator [--backbone B] [--size S] [--batch N …] [--contenders …]` trains CLAN on random
photos in bfloat16. Each contender is a process of its own, so that its peak memory is its own. A large matrix product
takes turns with the steps; shares are those of its highest rate. Standard output is one JSON document.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

CONTENDERS = ("jax", "torch", "torch.compile", "relations")
CLASSES = 200
SIDE = 8192
"""Side of the square matrices of the matrix product."""
LEARNING_RATE = 1e-7
"""Low, so that random photos don't make the weights infinite."""
RELATION_PHOTOS, RELATION_CHANNELS = 8, 512


def main() -> None:
    """Measures every contender, or the one that `--only` names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--size", type=int, default=448)
    parser.add_argument("--batch", type=int, nargs="+", default=[36, 128])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--positions", type=int, nargs="+", default=[3136, 12544], help="Of the relations' maps.")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=CONTENDERS)
    parser.add_argument("--only", choices=CONTENDERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    needed = ["jax", *(["torch"] if {"torch", "torch.compile"} & set(arguments.contenders) else [])]
    missing = [name for name in needed if not find_spec(name)]
    if missing:
        parser.error(f"needs {' and '.join(missing)}, built for this machine's GPU (pip install jax torch)")
    if arguments.only:
        print(json.dumps(_measure(arguments.only, arguments)))
        return
    command = [sys.executable, "-m", __spec__.name, *sys.argv[1:]]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    results: dict[str, Any] = {}
    for name in arguments.contenders:
        process = subprocess.run([*command, "--only", name], env=environment, stdout=subprocess.PIPE, text=True)
        results[name] = json.loads(process.stdout.splitlines()[-1]) if process.returncode == 0 else "failed"
        print(name, results[name], file=sys.stderr, flush=True)
    batches = [
        batch
        for name, result in results.items()
        if name != "relations" and result != "failed"
        for batch in result.values()
        if isinstance(batch, dict)
    ]
    for batch in batches:
        fastest = max(other["matrix_product_tflops"] for other in batches)
        batch["share_of_matrix_rate"] = round(batch["tflops"] / fastest, 3) if fastest else None
    print(json.dumps(results, indent=1))
    sys.exit("failed" in results.values())


def _measure(contender: str, arguments: argparse.Namespace) -> dict[str, Any]:
    import keras

    if contender == "relations":
        return {str(positions): _measure_relations(positions, arguments.steps) for positions in arguments.positions}
    from clan_tf.models import CLAN, complexity

    results: dict[str, Any] = {}
    if contender != "jax":
        results["difference"] = _compare(CLAN(arguments.backbone, CLASSES, image_size=128, weights=None))
    keras.config.set_dtype_policy("mixed_bfloat16")
    keras.utils.set_random_seed(0)
    for batch in arguments.batch:
        model = CLAN(arguments.backbone, CLASSES, image_size=arguments.size, weights=None)
        cost = complexity(model)
        macs = cost.all_macs
        if contender == "jax":
            step, product, peak = _jax_step(model, batch)
        else:
            step, product, peak = _torch_step(model, batch, contender == "torch.compile")
        began = time.perf_counter()
        step()
        first = time.perf_counter() - began
        for _ in range(3):
            step()
        seconds, rate = [], []
        for _ in range(arguments.steps):
            seconds.append(_seconds(step))
            rate.append(2 * SIDE**3 / _seconds(product))
        photos = batch / statistics.median(seconds)
        results[str(batch)] = {
            "photos_per_second": round(photos, 1),
            "milliseconds": [round(1e3 * pick(seconds), 2) for pick in (statistics.median, min, max)],
            "first_step_seconds": round(first, 1),
            "peak_gigabytes": round(peak() / 1e9, 2),
            "matrix_product_tflops": round(statistics.median(rate) / 1e12),
            # The passes of training: forward, the gradient of the inputs and of the weights.
            "tflops": round(photos * macs * 2 * 3 / 1e12, 1),
        }
    return results


def _compare(model: Any) -> float:
    """Returns how far PyTorch's logits are from JAX', in float32 at inference, relative to the largest.

    Raises:
        CheckFailed: if it is more than rounding.
    """
    import jax
    import numpy as np
    import torch

    from clan_tf.benchmark.comparison import output_difference, random_batch, require_same, settle
    from clan_tf.benchmark.torch_network import TorchNetwork

    photos, _ = random_batch(model.image_size, CLASSES, 2)
    with jax.default_matmul_precision("highest"):
        settle(model, photos)
        network = model.logits_model()
        own = {name: np.asarray(values) for name, values in network(photos, training=False).items()}
    with torch.inference_mode():
        theirs = TorchNetwork(network).eval()(torch.from_numpy(photos))
    difference = output_difference("PyTorch", own, {name: values.numpy() for name, values in theirs.items()})
    require_same([difference])
    return difference.largest


def _seconds(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _jax_step(model: Any, batch: int) -> tuple[Callable[[], Any], Callable[[], Any], Callable[[], int]]:
    """Returns a training step and a matrix product, which wait for their results, and the peak memory in bytes."""
    import jax
    import keras
    from jax import numpy as jnp

    network = model.logits_model()
    optimizer = keras.optimizers.SGD(LEARNING_RATE, momentum=0.9, weight_decay=1e-4)
    optimizer.build(network.trainable_variables)
    size = model.image_size
    photos = jax.random.uniform(jax.random.key(0), (batch, size, size, 3), jnp.float32, 0, 255)
    labels = jax.random.randint(jax.random.key(1), (batch,), 0, CLASSES)

    def loss_of(trained: Any, others: Any, photos: Any) -> tuple[Any, Any]:
        logits, others = network.stateless_call(trained, others, photos, training=True)
        losses = [
            -jnp.take_along_axis(jax.nn.log_softmax(value), labels[:, None], axis=1).mean() for value in logits.values()
        ]
        return sum(losses), others

    def update(trained: Any, others: Any, state: Any, photos: Any) -> tuple[Any, ...]:
        (loss, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(trained, others, photos)
        trained, state = optimizer.stateless_apply(state, gradients, trained)
        return trained, others, state, loss

    compiled = jax.jit(update, donate_argnums=(0, 1, 2))
    state: tuple[Any, ...] = tuple(
        # The compiled step overwrites its arguments: those mustn't be the variables' own arrays.
        [jnp.array(variable.value) for variable in variables]
        for variables in (network.trainable_variables, network.non_trainable_variables, optimizer.variables)
    )

    def step() -> None:
        nonlocal state
        *new, loss = compiled(*state, photos)
        state = tuple(new)
        if not jnp.isfinite(loss.block_until_ready()):
            raise FloatingPointError("the loss isn't finite")

    device = jax.devices()[0]
    matrices = [jax.random.normal(jax.random.key(i), (SIDE, SIDE), jnp.bfloat16) for i in range(2)]
    product = jax.jit(lambda left, right: left @ right)
    return (
        step,
        lambda: product(*matrices).block_until_ready(),
        lambda: (device.memory_stats() or {}).get("peak_bytes_in_use", 0),
    )


def _torch_step(
    model: Any, batch: int, compiled: bool
) -> tuple[Callable[[], Any], Callable[[], Any], Callable[[], int]]:
    """Returns what `_jax_step` does, by PyTorch with the same weights."""
    import torch
    from torch.nn import functional as F

    from clan_tf.benchmark.torch_network import TorchNetwork

    device = "cuda" if torch.cuda.is_available() else "cpu"
    network: Any = TorchNetwork(model.logits_model()).to(device).train()
    optimizer = torch.optim.SGD(network.parameters(), LEARNING_RATE, 0.9, weight_decay=1e-4)
    photos = 255 * torch.rand(batch, model.image_size, model.image_size, 3, device=device)
    labels = torch.randint(0, CLASSES, (batch,), device=device)
    if compiled:
        network = torch.compile(network, dynamic=False)

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16):
            outputs = network(photos)
        loss = sum(F.cross_entropy(logits.float(), labels) for logits in outputs.values())
        loss.backward()
        optimizer.step()
        if not torch.isfinite(loss).item():
            raise FloatingPointError("the loss isn't finite")

    matrices = [torch.randn(SIDE, SIDE, device=device, dtype=torch.bfloat16) for _ in range(2)]

    def product() -> None:
        torch.matmul(*matrices)
        wait()

    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    return step, product, lambda: torch.cuda.max_memory_allocated() if device == "cuda" else 0


def _finish(compute: Callable[[], Any]) -> None:
    import jax

    jax.block_until_ready(compute())


def _measure_relations(positions: int, steps: int) -> dict[str, Any]:
    """Measures each relation with its gradient through Keras' JAX backend, with and without the `n x n` matrix."""
    import jax
    from jax import numpy as jnp

    from clan_tf.layers import relation as relations

    keys = jax.random.split(jax.random.key(0), 3)
    shape = RELATION_PHOTOS, positions, RELATION_CHANNELS
    inputs = [jax.random.normal(key, shape, jnp.float32) / RELATION_CHANNELS**0.25 for key in keys]
    kinds: dict[str, Callable[..., Any]] = {
        "dot_product, n x n": relations.pairwise_dot_product,
        "dot_product, linear": relations.linear_dot_product,
        "softmax, n x n": relations.softmax_attention,
        "softmax, blocks of 512": partial(relations.blockwise_attention, block=512),
    }
    results: dict[str, Any] = {}
    references: dict[str, Any] = {}
    for name, relation in kinds.items():
        compute = jax.jit(
            lambda *arrays, relation=relation: jax.value_and_grad(
                lambda *x: jnp.sum(jnp.sin(relation(*x))), argnums=(0, 1, 2)
            )(*arrays)
        )
        value, gradients = compute(*inputs)
        memory = compute.lower(*inputs).compile().memory_analysis()
        call = partial(_finish, partial(compute, *inputs))
        seconds = [_seconds(call) for _ in range(steps)]
        reference = references.setdefault(name.split(",")[0], gradients)
        difference = max(
            float(jnp.linalg.norm(a - b) / jnp.linalg.norm(b)) for a, b in zip(gradients, reference, strict=True)
        )
        results[name] = {
            "milliseconds": [round(1e3 * pick(seconds), 2) for pick in (statistics.median, min, max)],
            "temporary_megabytes": round(getattr(memory, "temp_size_in_bytes", 0) / 1e6),
            "gradient_difference": difference,
            "finite": bool(jnp.isfinite(value)),
        }
    return results


if __name__ == "__main__":
    main()
