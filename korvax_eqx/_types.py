"""The types of the parts of a loss, as functions."""

from collections.abc import Callable

from jaxtyping import Array, Float, Inexact

TransformFn = Callable[
    [Float[Array, "*channels n_samples"]], Inexact[Array, "*channels n_bins n_frames"]
]
ScaleFn = Callable[
    [Inexact[Array, "*channels n_bins_in n_frames"]],
    Inexact[Array, "*channels n_bins_out n_frames"],
]
LossFn = Callable[
    [
        Inexact[Array, "*channels n_bins n_frames"],
        Inexact[Array, "*channels n_bins n_frames"],
    ],
    Float[Array, ""],
]
