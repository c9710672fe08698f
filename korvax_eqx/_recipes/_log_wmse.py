"""logWMSE: the error of a source in a mixture, as the ear weighs it."""

from typing import Any

from korvax_eqx import _checks as checks
from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._maps._fields import table_or_leaf
from korvax_eqx._tables._hearing import hearing_taps, resampled
from korvax_eqx._time_domain._log_wmse import LogWMSELoss
from korvax_eqx._time_domain._mixture import Mixture

from ._parts import with_gradient_scale

# The weighting has as many taps as a tenth of a second has samples.
_MOST_RATE = 10_000_000


def log_wmse(
    sample_rate: float = 44100,
    *,
    mixture: Mixture = "target",
    p: float = 0.0,
    impulse_response: Any = None,
    impulse_response_sample_rate: float = 44100,
    bypass_filter: bool = False,
    error_tolerance_db: float | None = None,
    grad_scale: float = 1.0,
) -> AbstractLoss:
    r"""The logarithm of the frequency-weighted squared error, of torch-log-wmse.

    $$4 \ln\left(\frac{\sum (h * (x - y))^2}{\sum (h * u)^2} + 10^{-8}\right)$$

    for each signal, with the weighting $h$ of human hearing and the mixture $u$: see
    `LogWMSELoss`. Smaller is better, equal signals give -73.7: there the metric is the
    larger the better, and `LogWMSELoss` this.

    **Source:** torch-log-wmse 1.1.0 by Landschoot, after log-wmse-audio-quality by
    Jordal. There is no paper.

    **The mixture** is there a third argument, `loss(unprocessed, processed, target)`.
    Here it comes with the target: for sources in the axis before the samples it is
    their sum (`mixture="sum"`), or the last entry of both signals (`"last"`); by
    default every target is its own mixture, which makes silent targets cost most.

    **Differs:** the generalised mean of `p` above 0 is over the sources alone, the axis
    before the samples, there over channels too; the mean over all, `p=0`, is the same.
    At other rates than 44.1 kHz the weighting is resampled with the rounding that
    torchaudio has. The original of Jordal drops filtered differences below -68 dB and
    what rings beyond the ends: `error_tolerance_db=-68.0`; it resamples the signals in
    place of the weighting.

    **Measured** against it in float64: value 1e-9, gradient 1e-7 (its taps are in
    float32); in float32 1e-6.

    **Arguments:**

    - `sample_rate`: Hz.
    - `mixture`: `"target"`, `"sum"` or `"last"`.
    - `p`: exponent of the mean over sources, non-negative.
    - `impulse_response`: taps in place of the weighting, shape `(n_taps,)`.
    - `impulse_response_sample_rate`: of these, Hz.
    - `bypass_filter`: whether to weigh nothing.
    - `error_tolerance_db`: what filtered differences count from, in dB of the mixture.
    - `grad_scale`: what the gradient is multiplied by, see `GradientScale`. Positive.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    owner = "log_wmse"
    sample_rate = checks.positive(owner, "sample_rate", sample_rate)
    if sample_rate > _MOST_RATE:
        rule = f"be at most {_MOST_RATE} Hz"
        checks.refuse(owner, "sample_rate", rule, sample_rate)
    own_rate = checks.positive(
        owner, "impulse_response_sample_rate", impulse_response_sample_rate
    )
    with checks.owned_by(
        owner, taps="impulse_response", threshold_db="error_tolerance_db"
    ):
        if checks.boolean(owner, "bypass_filter", bypass_filter):
            taps: Any = (1.0,)
        elif impulse_response is None:
            taps = hearing_taps(sample_rate)
        else:
            taps = table_or_leaf(owner, "taps", impulse_response, ndim=1)
            if own_rate != sample_rate:
                if checks.is_learnable(taps):
                    remedy = "Resample it, or give a NumPy array."
                    rule = "be at the sample rate of the signals if it is learnable"
                    checks.refuse(owner, "taps", rule, taps, remedy)
                taps = resampled(taps, own_rate, sample_rate)
        loss = LogWMSELoss(taps, mixture, p=p, threshold_db=error_tolerance_db)
    return with_gradient_scale(owner, grad_scale, loss)
