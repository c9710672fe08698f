"""A loss of what a network predicts before it is a signal: spectra, or sub-bands."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, PRNGKeyArray

from korvax_eqx import _checks as checks
from korvax_eqx._compile import compiled
from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._core._steps import AbstractScale
from korvax_eqx._data import Spectra, Term, Terms
from korvax_eqx._data._term import is_off
from korvax_eqx._engine._devices import keep_rows
from korvax_eqx._engine._evaluate import evaluate
from korvax_eqx._engine._piece import each_value, gated
from korvax_eqx._engine._plan import active, is_equal, steps_of, tree_of
from korvax_eqx._engine._report import reported
from korvax_eqx._engine._walk import compared
from korvax_eqx._keys import check_key
from korvax_eqx._maps._pqmf import PQMF
from korvax_eqx._platform import compiling_here
from korvax_eqx._repr import constructor_call
from korvax_eqx._scales._identity import Identity
from korvax_eqx._transforms._inverse import check_invertible
from korvax_eqx._transforms._stft import STFT

from ._arguments import AbstractOutermost, part
from ._consistency import ConsistencyLoss

_OWNER = "PredictionLoss"


class PredictionLoss(AbstractOutermost):
    r"""A loss on signals, given a prediction of their spectra or of their sub-bands.

    A network that predicts complex spectra, or the bands of a `PQMF`, makes its signal
    by `inverse`. Terms whose path begins with `step_fn` compare the prediction itself
    with the spectra, or the bands, of the target; all others compare the signal, and so
    do all in a `PermutationInvariantLoss`:

    ```python
    loss = PredictionLoss(loss_on_signals, STFT(400, 100), consistency=0.1)
    value = loss(S, y)  # (*channels, n_bins, n_frames) and (*channels, n_samples)
    ```

    For a signal and its own spectra, the value is that of the loss on signals.
    `lengths` and `bind` are not offered.
    """

    loss: Any
    step_fn: STFT | PQMF
    consistency: Any
    consistency_scale: Any
    called_with: ClassVar[str] = "a prediction and a signal"  # pyright: ignore
    remedy: ClassVar[str] = (  # pyright: ignore
        "Put other losses inside: `PredictionLoss(a + b)`."
    )

    def __init__(
        self,
        loss: AbstractLoss,
        step_fn: STFT | PQMF | None = None,
        *,
        consistency: float | Float[Array, ""] = 0.0,
        consistency_scale: Any = None,
    ) -> None:
        """**Arguments:**

        - `loss`: any loss of the library on signals.
        - `step_fn`: what the prediction is of, an `STFT` or a `PQMF`. If no path of the
            loss begins with it, all terms compare the signal. `None`: the only `PQMF`
            that a path begins with, or else the only `STFT`. One with a learnable
            window counts as equal whatever the window holds: that of `step_fn` is used.
        - `consistency`: weight of the `ConsistencyLoss` of predicted spectra.
        - `consistency_scale`: a scale that its sides take. `None`: none.

        **Raises:** `ValueError` for anything else, and without a `step_fn` if paths
        begin with none or several.
        """
        if not isinstance(loss, AbstractLoss):
            checks.refuse(_OWNER, "loss", "be a loss on signals", loss)
        self.loss = part(_OWNER, "loss", loss, AbstractLoss)
        if step_fn is None:
            step_fn = _only_step(loss)
        elif not isinstance(step_fn, STFT | PQMF):
            checks.refuse(_OWNER, "step_fn", "be an `STFT` or a `PQMF`", step_fn)
        self.step_fn = step_fn
        self.consistency = checks.number_or_leaf(_OWNER, "consistency", consistency)
        if isinstance(step_fn, PQMF) and not is_off(self.consistency):
            checks.refuse(_OWNER, "consistency", "be 0 for sub-bands", consistency)
        scale = Identity() if consistency_scale is None else consistency_scale
        self.consistency_scale = part(_OWNER, "consistency_scale", scale, AbstractScale)

    def __call__(
        self,
        prediction: Inexact[Array, "..."],
        y: Float[Array, "*channels n_samples"],
        *,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, ""]:
        """Return the loss of a prediction for the target `y`.

        **Arguments:**

        - `prediction`: complex spectra of shape `(*channels, n_bins, n_frames)`, or
            bands of shape `(*channels, n_bands, n_frames)`: of the shape that the step
            makes of `y`.
        - `y`: signals.
        - `key`: as for losses on signals.

        **Raises:** `ValueError` for a prediction of another shape.
        """
        return self._called(prediction, y, key)[0]

    def with_terms(
        self,
        prediction: Inexact[Array, "..."],
        y: Float[Array, "*channels n_samples"],
        *,
        key: PRNGKeyArray | None = None,
    ) -> tuple[Float[Array, ""], Terms]:
        """Return the loss and its weighted terms by name, which add up to it."""
        return self._called(prediction, y, key)

    def _called(self, prediction: Any, y: Any, key: Any) -> tuple[Array, Terms]:
        checks.signal_type(_OWNER, "prediction", prediction)
        checks.signal_type(_OWNER, "y", y)
        check_key(_OWNER, key)
        with checks.owned_by(_OWNER):
            if isinstance(self.step_fn, STFT):
                check_invertible(self.step_fn, self.step_fn.window_part[0])
        return _evaluated(self, prediction, y, key)

    def __repr__(self) -> str:
        return constructor_call(self)


def _only_step(loss: AbstractLoss) -> STFT | PQMF:
    steps: list[Any] = []
    for term in loss.terms(key=jax.random.key(0)):
        first = steps_of(term)[:1]
        if first and isinstance(first[0], STFT | PQMF):
            steps += [] if any(is_equal(first[0], s) for s in steps) else first
    banks = [step for step in steps if isinstance(step, PQMF)]
    if len(banks or steps) != 1:
        kind = "`PQMF`s" if banks else "`STFT`s"
        raise ValueError(
            f"`{_OWNER}`: `step_fn` must be given for a loss whose paths begin with "
            f"{len(banks or steps)} different {kind}. Pass the one that the prediction "
            "is of."
        )
    return (banks or steps)[0]


@compiled
def _evaluated(
    loss: PredictionLoss, P: Any, y: Any, key: Any
) -> tuple[Float[Array, ""], Terms]:
    with jax.named_scope(f"korvax_eqx.{_OWNER}"), compiling_here():
        y = checks.signal(_OWNER, "y", y)
        step: Any = loss.step_fn
        target = step(y)
        if P.shape != target.shape or jnp.iscomplexobj(P) != jnp.iscomplexobj(target):
            raise ValueError(
                f"`{_OWNER}`: `prediction` must be of the shape and kind that "
                f"`{type(step).__name__}` makes of `y`, "
                f"{checks.describe(target)}. Got {checks.describe(P)}."
            )
        P = jnp.asarray(P).astype(target.dtype)
        terms = active(loss.loss.terms(key=key))
        steps = [steps_of(term) for term in terms]
        # Inside a compiled function, two copies of a window are different arrays.
        own = jax.tree.structure(step)
        is_inside = [bool(s) and jax.tree.structure(s[0]) == own for s in steps]
        pairs = list(zip(terms, is_inside, strict=True))
        if any(own and term.target is not None for term, own in pairs):
            raise ValueError(
                f"`{_OWNER}`: a part that compares the prediction is bound. Leave out "
                "`bind`, and pass the target in the call."
            )
        inside = [
            term.with_path(s[1:])
            for term, s, own in zip(terms, steps, is_inside, strict=True)
            if own
        ]
        outside = [term for term, own in pairs if not own]
        found: dict[str, list[Array]] = {}
        if inside and isinstance(step, STFT):
            found.update(_on_spectra(inside, P, target))
        elif inside:
            _, values = evaluate(inside, P, target, None, "both")
            found.update(zip((t.name for t in inside), values, strict=True))
        if outside:
            x = step.inverse(P, y.shape[-1])
            _, values = evaluate(outside, x, y, None, "both")
            found.update(zip((t.name for t in outside), values, strict=True))
        each = [found[term.name] for term in terms]
        if not is_off(loss.consistency):
            own = ConsistencyLoss(step, None, loss.consistency_scale)
            terms = [*terms, Term((), own, loss.consistency, "consistency")]
            each.append([own(P, y.shape[-1]).astype(y.dtype)])
        log = reported(terms, each, loss.loss.has_parts)
        return sum(log.values(), jnp.zeros((), y.dtype)), log


def _on_spectra(
    terms: list[Term], P: Array, target: Array
) -> dict[str, list[Float[Array, ""]]]:
    """Return unweighted terms by name, given the rest of paths, from spectra on."""
    tree = tree_of(list(enumerate(terms)))

    def columns(S_x: Array, S_y: Array) -> dict[int, tuple[Array, ...]]:
        return compared(tree, Spectra(S_x), Spectra(S_y), ())

    rows = jnp.swapaxes(P, -1, -2), jnp.swapaxes(target, -1, -2)
    parts = [*tree.all_steps(), *(end.loss for end in tree.all_ends())]
    is_whole = any(p.scope in ("channels", "batch") for p in parts)
    found = columns(*rows) if is_whole else keep_rows(columns, rows, 2)
    values = {}
    for end, term in zip(tree.all_ends(), terms, strict=True):
        means = tuple(jnp.mean(c) for c in found[end.number])
        values[term.name] = [gated(v, end.gate) for v in each_value(end, means)]
    return values
