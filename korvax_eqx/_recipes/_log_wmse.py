"""logWMSE: the frequency-weighted error of a source in a mixture."""

from typing import Any

from korvax_eqx import _checks as checks
from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._maps._fields import table_or_leaf
from korvax_eqx._tables._hearing import hearing_taps, resampled
from korvax_eqx._time_domain._log_wmse import LogWMSELoss
from korvax_eqx._time_domain._mixture import Mixture

from ._parts import with_gradient_scale

# The filter is a tenth of a second long.
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
    r"""The logarithmic frequency-weighted squared error of torch-log-wmse.

    $$4 \ln\left(\frac{\sum (h * (x - y))^2}{\sum (h * u)^2} + 10^{-8}\right)$$

    for each signal, with a filter $h$ that models human hearing, and the mixture $u$:
    see `LogWMSELoss`. Smaller is better; equal signals give -73.7. (In the package this
    is `LogWMSELoss`; its metric has the opposite sign.)

    **Source:** torch-log-wmse 1.1.0 by Landschoot, after log-wmse-audio-quality by
    Jordal. There is no paper.

    **The mixture** is a third argument in the package: `loss(unprocessed, processed,
    target)`. Here it is taken from the target: the axis before the samples holds
    sources, and the mixture is their sum (`mixture="sum"`) or the last entry
    (`"last"`). By default each target is its own mixture, which makes silent targets
    cost most.

    **Differs:** with `p` above 0 the generalised mean is over the sources only, the
    axis before the samples; the package's is over channels too. With `p=0`, the mean
    over all, both are the same. At rates other than 44.1 kHz the filter is resampled
    with torchaudio's rounding. Jordal's original ignores filtered differences below
    -68 dB and the ringing of the filter beyond the ends (`error_tolerance_db=-68.0`),
    and resamples the signals instead of the filter.

    **Measured** against it in float64: value 1e-9, gradient 1e-7 (its taps are in
    float32); in float32 1e-6.

    **Arguments:**

    - `sample_rate`: Hz.
    - `mixture`: `"target"`, `"sum"` or `"last"`.
    - `p`: exponent of the mean over sources, non-negative.
    - `impulse_response`: taps to use instead of the filter, shape `(n_taps,)`.
    - `impulse_response_sample_rate`: the sample rate of these taps, Hz.
    - `bypass_filter`: whether to use no filter.
    - `error_tolerance_db`: filtered differences below this level count as 0, in dB
        relative to the mixture.
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
                if checks.is_leaf(taps):
                    remedy = "Resample it, or give a NumPy array."
                    rule = "be at the sample rate of the signals if it is learnable"
                    checks.refuse(owner, "taps", rule, taps, remedy)
                taps = resampled(taps, own_rate, sample_rate)
        loss = LogWMSELoss(taps, mixture, p=p, threshold_db=error_tolerance_db)
    return with_gradient_scale(owner, grad_scale, loss)
