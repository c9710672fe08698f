"""Balancing the gradients of several losses."""

import functools
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from korvax_eqx import _checks as checks
from korvax_eqx._numerics._safe import norm
from korvax_eqx._repr import constructor_call
from korvax_eqx._static import NamedParts
from korvax_eqx._tree import hash_of


class BalancerState(eqx.Module):
    """What a `GradientBalancer` has seen: a pytree, to be saved with the training.

    **Attributes:**

    - `sums`, `counts`: decaying sums of the norms of each part, and of ones; shape
        `(n_parts,)`.
    - `names`: of the parts.
    """

    sums: Float[Array, " n_parts"]
    counts: Float[Array, " n_parts"]
    names: tuple[str, ...] = eqx.field(static=True)

    @property
    def norms(self) -> dict[str, Float[Array, ""]]:
        """The average norm of the gradient of each part; 0 before the first update."""
        return dict(zip(self.names, self.means(), strict=True))

    def means(self) -> Float[Array, " n_parts"]:
        """Return the average norms as one array, in the order of the names."""
        is_new = self.counts == 0
        return jnp.where(is_new, 0.0, self.sums / jnp.where(is_new, 1.0, self.counts))


class GradientBalancer(eqx.Module):
    r"""Scales the gradients of losses so that each has its share of their sum.

    For the gradient $g_i$ of each of several losses for the output of a model, with
    $n_i$ the average over steps of the mean over items of $\|g_i\|_2$, it returns

    $$G = \sum_i \frac{w_i}{\sum_j w_j} \frac{T}{n_i + \epsilon}\, g_i$$

    so that a loss of weight 2 moves the model twice as much as one of weight 1,
    whatever their units. $n_i$ is an exponential moving average without bias at the
    start. See Défossez et al. (2022), "High Fidelity Neural Audio Compression"
    (EnCodec), section 3.4; audiocraft's `losses/balancer.py` (896ec7c).

    Used as an optax transformation is: `init`, and a pure `update`.

        loss = SumLoss({"mel": mel, "wave": WaveformLoss()})
        balancer = GradientBalancer({"mel": 1.0, "wave": 0.1})
        state = balancer.init()

        @jax.jit
        def step(model, state, x):
            z, pull_back = jax.vjp(lambda model: jax.vmap(model)(x), model)
            terms, gradients = loss.part_gradients(z, x)
            balanced, state = balancer.update(gradients, state)
            (of_model,) = pull_back(balanced)
            ...

    `gradients` is a dictionary: add those of other losses, e.g. `jax.grad` of an
    adversarial one, under names of their own. `state.norms` has the norms for a log.
    In a batch that is sharded over devices the mean is over all of them.

    Unlike audiocraft's, it averages the norms over the devices before the moving
    average and not after it, and leaves the averages as they are where a norm is not
    finite; the gradient is then not finite either, for that one step.
    """

    weights: Any
    total_norm: float = eqx.field(static=True)
    decay: float = eqx.field(static=True)
    eps: float = eqx.field(static=True)
    per_item: bool = eqx.field(static=True)

    def __init__(
        self,
        weights: Mapping[str, Any],
        total_norm: float = 1.0,
        decay: float = 0.999,
        eps: float = 1e-12,
        per_item: bool = True,
    ):
        """**Arguments:**

        - `weights`: a number that is not negative for each part, by name. A JAX scalar
            is a leaf: it can change without compiling again.
        - `total_norm`: $T$, the sum of the norms of what is added up, on average.
        - `decay`: of the moving average, from 0 (none) to 1 (the mean of all steps).
        - `eps`: $\\epsilon$, added to the average norms.
        - `per_item`: whether a norm is the mean of those of the items of a batch, its
            first axis, or the norm of the whole array.

        **Raises:** `ValueError` for an argument outside these rules.
        """
        owner = "GradientBalancer"
        if not isinstance(weights, Mapping) or not weights:
            rule = "be a mapping of names to numbers, e.g. {'mel': 1.0}"
            checks.refuse(owner, "weights", rule, weights)
        if not all(isinstance(name, str) for name in weights):
            checks.refuse(owner, "weights", "have names that are strings", weights)
        self.weights = NamedParts(
            {n: _weight(owner, weight) for n, weight in weights.items()}
        )
        numbers = [w for w in self.weights.values() if not isinstance(w, jax.Array)]
        if len(numbers) == len(self.weights) and not any(numbers):
            checks.refuse(owner, "weights", "hold a positive number", weights)
        self.total_norm = checks.positive(owner, "total_norm", total_norm)
        self.decay = checks.real(owner, "decay", decay)
        if not 0 <= self.decay <= 1:
            checks.refuse(owner, "decay", "be from 0 to 1", decay)
        self.eps = checks.positive(owner, "eps", eps)
        self.per_item = checks.boolean(owner, "per_item", per_item)

    def init(self, dtype: Any = jnp.float32) -> BalancerState:
        """Return the state before the first update.

        **Arguments:**

        - `dtype`: that of the averages, floating.

        **Raises:** `ValueError` for another dtype.
        """
        if not _is_floating(dtype):
            checks.refuse("GradientBalancer.init", "dtype", "be a float dtype", dtype)
        zeros = jnp.zeros(len(self.weights), dtype)
        return BalancerState(zeros, zeros, tuple(self.weights))

    def update(
        self,
        gradients: Mapping[str, Float[Array, "*batch n"]],
        state: BalancerState,
        *,
        lengths: Int[Array, "..."] | None = None,
    ) -> tuple[Float[Array, "*batch n"], BalancerState]:
        """Return the balanced gradient and the next state.

        **Arguments:**

        - `gradients`: for each name of the weights, real floats, all of one shape.
        - `state`: of `init` or of the last update.
        - `lengths`: those of the losses, if the batch is padded: items of length 0 do
            not count in the mean.

        **Raises:** `ValueError` for gradients of other names, kinds or several shapes,
        for another state, and for lengths that are not those of such gradients.
        """
        arrays = self._arrays(gradients)
        lengths = checks.lengths("GradientBalancer.update", lengths, arrays[0])
        if not isinstance(state, BalancerState):
            rule = "be what `init` or the last `update` returned"
            checks.refuse("GradientBalancer.update", "state", rule, state)
        if state.names != tuple(self.weights):
            rule = f"be that of the same weights, {', '.join(self.weights)}"
            checks.refuse("GradientBalancer.update", "state", rule, state.names)
        dtype = state.sums.dtype
        norms = self._norms(arrays, lengths).astype(dtype)
        is_finite = jnp.isfinite(norms)
        sums = self.decay * state.sums + norms
        counts = self.decay * state.counts + 1
        state = BalancerState(
            jnp.where(is_finite, sums, state.sums),
            jnp.where(is_finite, counts, state.counts),
            state.names,
        )
        weights = jnp.stack([jnp.asarray(w, dtype) for w in self.weights.values()])
        # All weights may be 0 if they are JAX arrays: then nothing counts.
        of_all = jnp.sum(weights)
        shares = weights / jnp.where(of_all == 0, 1, of_all)
        scales = shares * self.total_norm / (state.means() + self.eps)
        # A scale may be too large for float16, and so may a part of the sum.
        kind = functools.reduce(checks.wider, [array.dtype for array in arrays])
        wide = checks.wider(kind, jnp.float32)
        total = jnp.zeros_like(arrays[0], wide)
        for scale, gradient in zip(scales.astype(wide), arrays, strict=True):
            total = total + scale * gradient.astype(wide)
        return total.astype(kind), state

    def __repr__(self) -> str:
        return constructor_call(self)

    def __hash__(self) -> int:
        return hash_of(self, "GradientBalancer")

    def _arrays(self, gradients: Mapping[str, Array]) -> list[Array]:
        owner, names = "GradientBalancer.update", list(self.weights)
        if not isinstance(gradients, Mapping) or set(gradients) != set(names):
            rule = f"have one array for each of the weights, {', '.join(names)}"
            got = gradients
            if isinstance(gradients, Mapping):
                got = sorted(map(str, gradients))
            checks.refuse(owner, "gradients", rule, got)
        for gradient in gradients.values():
            is_array = isinstance(gradient, jax.Array | np.ndarray)
            if not is_array or not _is_floating(gradient.dtype):
                rule = "hold one JAX or NumPy array of real floats for each weight"
                remedy = "They are the gradients for the output of a model, an array."
                checks.refuse(owner, "gradients", rule, gradient, remedy)
        arrays = [jnp.asarray(gradients[name]) for name in names]
        if len({array.shape for array in arrays}) > 1:
            shapes = [array.shape for array in arrays]
            checks.refuse(owner, "gradients", "be arrays of one shape", shapes)
        return arrays

    def _norms(self, arrays: list[Array], lengths: Any) -> Float[Array, " n_parts"]:
        """Return the norm of each part, in one array: one sum over all devices."""
        norms = jnp.stack([self._norms_of_items(array) for array in arrays])
        if lengths is None or not self.per_item or norms.ndim == 1:
            return jnp.mean(norms.reshape(len(arrays), -1), axis=-1)
        items = lengths.reshape(len(lengths), -1)
        counts = jnp.any(items > 0, axis=-1).astype(norms.dtype)
        # Beside the norms, so that it is one sum over devices with them.
        sums = jnp.sum(jnp.concatenate([norms * counts[None], counts[None]]), axis=-1)
        return sums[:-1] / jnp.maximum(sums[-1], 1)

    def _norms_of_items(self, gradient: Array) -> Array:
        if gradient.dtype.itemsize < 4:
            gradient = gradient.astype(jnp.float32)
        n_kept = 1 if self.per_item and gradient.ndim > 1 else 0
        axes = tuple(range(n_kept, gradient.ndim))
        return norm(gradient, axes)


def _is_floating(dtype: Any) -> bool:
    """Whether `dtype` is a float dtype that JAX supports."""
    try:
        found = jnp.dtype(dtype)
    except TypeError:
        return False
    return jnp.issubdtype(found, jnp.floating) and checks.is_jax_dtype(found)


def _weight(owner: str, weight: Any) -> Any:
    value = checks.number_or_leaf(owner, "weights", weight)
    if not isinstance(value, jax.Array) and value < 0:
        checks.refuse(owner, "weights", "hold numbers that are not negative", weight)
    return value
