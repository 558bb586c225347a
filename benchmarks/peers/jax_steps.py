"""jax-privacy's private steps, jitted. ``python -m benchmarks.peers.jax_steps MODEL THREADS``.

The same networks and batches as in `benchmarks.networks`; ``jax_privacy`` as it comes, ``jax_privacy_micro`` with microbatches of 32.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

THREADS = int(sys.argv[2]) if len(sys.argv) > 2 else 1
os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={'true' if THREADS > 1 else 'false'} intra_op_parallelism_threads={THREADS}"

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from jax_privacy import clipped_grad  # noqa: E402

from benchmarks.stepping import Step, serve  # noqa: E402

CLIP, NOISE, RATE, MICROBATCH = 1.0, 1.0, 0.1, 32
WORDS, TIME, WIDTH, HEADS, INNER = 1000, 64, 128, 4, 512
Parameters = dict[str, Any]


class Keys:
    """Fresh keys."""

    def __init__(self, seed: int) -> None:
        self._key = jax.random.key(seed)

    def normal(self, *shape: int, scale: float = 0.05) -> jax.Array:
        """Numbers with this standard deviation."""
        self._key, own = jax.random.split(self._key)
        return scale * jax.random.normal(own, shape)


def linear(p: Parameters, name: str, x: jax.Array) -> jax.Array:
    return x @ p[f"{name}.w"] + p[f"{name}.b"]


def with_linear(p: Parameters, keys: Keys, name: str, sizes: tuple[int, int]) -> None:
    p[f"{name}.w"], p[f"{name}.b"] = keys.normal(*sizes), jnp.zeros(sizes[1])


def mlp(keys: Keys) -> tuple[Parameters, Callable[..., jax.Array], jax.Array, jax.Array]:
    p: Parameters = {}
    for place, sizes in enumerate(((100, 256), (256, 256), (256, 256), (256, 2))):
        with_linear(p, keys, f"l{place}", sizes)

    def forward(p: Parameters, x: jax.Array) -> jax.Array:
        for place in range(3):
            x = jax.nn.relu(linear(p, f"l{place}", x))
        return linear(p, "l3", x)

    return p, forward, keys.normal(1024, 100, scale=1.0), jnp.arange(1024) % 2


def convolved(p: Parameters, name: str, x: jax.Array, pad: int) -> jax.Array:
    out = jax.lax.conv_general_dilated(x, p[f"{name}.w"], (2, 2), [(pad, pad)] * 2, dimension_numbers=("NCHW", "OIHW", "NCHW"))
    out = jax.nn.relu(out + p[f"{name}.b"][:, None, None])
    return jax.lax.reduce_window(out, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 1, 1), "VALID")


def cnn(keys: Keys) -> tuple[Parameters, Callable[..., jax.Array], jax.Array, jax.Array]:
    p: Parameters = {
        "c0.w": keys.normal(16, 1, 8, 8), "c0.b": jnp.zeros(16), "c1.w": keys.normal(32, 16, 4, 4), "c1.b": jnp.zeros(32),
    }
    with_linear(p, keys, "l0", (512, 32))
    with_linear(p, keys, "l1", (32, 10))

    def forward(p: Parameters, x: jax.Array) -> jax.Array:
        x = convolved(p, "c1", convolved(p, "c0", x, 3), 0)
        return linear(p, "l1", jax.nn.relu(linear(p, "l0", x.reshape(len(x), -1))))

    return p, forward, keys.normal(512, 1, 28, 28, scale=1.0), jnp.arange(512) % 10


def normed(p: Parameters, name: str, x: jax.Array) -> jax.Array:
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-5) * p[f"{name}.w"] + p[f"{name}.b"]


def transformer(keys: Keys) -> tuple[Parameters, Callable[..., jax.Array], jax.Array, jax.Array]:
    p: Parameters = {"tokens": keys.normal(WORDS, WIDTH), "places": keys.normal(TIME, WIDTH)}
    for block in range(2):
        for name, sizes in (("qkv", (WIDTH, 3 * WIDTH)), ("out", (WIDTH, WIDTH)), ("up", (WIDTH, INNER)), ("down", (INNER, WIDTH))):
            with_linear(p, keys, f"{block}.{name}", sizes)
        for name in ("before", "between"):
            p[f"{block}.{name}.w"], p[f"{block}.{name}.b"] = jnp.ones(WIDTH), jnp.zeros(WIDTH)
    p["norm.w"], p["norm.b"] = jnp.ones(WIDTH), jnp.zeros(WIDTH)
    with_linear(p, keys, "head", (WIDTH, 2))

    def forward(p: Parameters, x: jax.Array) -> jax.Array:
        h = p["tokens"][x] + p["places"]
        for block in range(2):
            qkv = linear(p, f"{block}.qkv", normed(p, f"{block}.before", h)).reshape(*h.shape[:2], 3, HEADS, WIDTH // HEADS)
            mixed = jax.nn.dot_product_attention(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]).reshape(h.shape)
            h = h + linear(p, f"{block}.out", mixed)
            h = h + linear(p, f"{block}.down", jax.nn.relu(linear(p, f"{block}.up", normed(p, f"{block}.between", h))))
        return linear(p, "head", normed(p, "norm", h).mean(1))

    return p, forward, jnp.arange(128 * TIME).reshape(128, TIME) * 7919 % WORDS, jnp.arange(128) % 2


MODELS = {"mlp": mlp, "cnn": cnn, "transformer": transformer}


def private(name: str, microbatch: int | None) -> Step:
    parameters, forward, x, y = MODELS[name](Keys(0))

    def loss(p: Parameters, x: jax.Array, y: jax.Array) -> jax.Array:
        return -jnp.take_along_axis(jax.nn.log_softmax(forward(p, x)), y[:, None], 1).mean()

    summed = clipped_grad(loss, l2_clip_norm=CLIP, batch_argnums=(1, 2), microbatch_size=microbatch)

    @jax.jit
    def step(p: Parameters, key: jax.Array) -> tuple[Parameters, jax.Array]:
        total, own = summed(p, x, y), jax.random.split(key, len(p) + 1)
        noisy = {n: total[n] + NOISE * jax.random.normal(k, total[n].shape) for n, k in zip(total, own[1:], strict=True)}
        return {n: p[n] - RATE / len(y) * noisy[n] for n in p}, own[0]

    state = [parameters, jax.random.key(1)]

    def once() -> None:
        state[:] = jax.block_until_ready(step(*state))

    return once


def main() -> None:
    name = sys.argv[1]
    serve({"jax_privacy": lambda: private(name, None), "jax_privacy_micro": lambda: private(name, MICROBATCH)})


if __name__ == "__main__":
    main()
