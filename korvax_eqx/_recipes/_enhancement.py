"""The losses of GTCRN and DeepFilterNet, on power-compressed complex spectra."""

from collections.abc import Sequence
from typing import Any

from korvax_eqx import _checks as checks
from korvax_eqx._composites._sum import SumLoss
from korvax_eqx._composites._time_frequency import TimeFrequencyLoss
from korvax_eqx._core._loss import AbstractLoss
from korvax_eqx._engine._plan import unique_names
from korvax_eqx._losses._elementwise import ElementwiseLoss
from korvax_eqx._scales._identity import Identity
from korvax_eqx._scales._magnitude import Magnitude
from korvax_eqx._scales._power_compression import PowerCompression
from korvax_eqx._static import items_of
from korvax_eqx._time_domain._si_sdr import SISDRLoss
from korvax_eqx._transforms._stft import STFT

from ._parts import columns_of, weight_of

_POWER_FLOOR = 1e-24  # of magnitudes 1e-12


def gtcrn(
    n_fft: int = 512,
    hop_length: int = 256,
    *,
    w_complex: Any = 30.0,
    w_mag: Any = 70.0,
    w_sisnr: Any = 1.0,
) -> AbstractLoss:
    r"""GTCRN's `HybridLoss`.

    $$30\, \overline{|X m_x^{-0.7} - Y m_y^{-0.7}|^2} +
      70\, \overline{(m_x^{0.3} - m_y^{0.3})^2} -
      \overline{\log_{10}\Bigl(\frac{\sum t^2}{\sum (x - t)^2 + \epsilon} +
      \epsilon\Bigr)}$$

    with $m = \sqrt{|\mathrm{STFT}|^2 + 10^{-12}}$ of centred frames with the root of a
    Hann window, padded by reflection, $t = (\sum xy) y / (\sum y^2 + \epsilon)$,
    $\epsilon = 10^{-8}$. The first term is the mean square of the real parts plus that
    of the imaginary parts. The last is the SI-SNR in bels, not decibels: signals keep
    their means.

    Source: Xiaobin-Rong/gtcrn at 3862c44, `loss.py`; Rong, Sun, Zhang, Hu, Zhu, Lu
    (2024), "GTCRN: A speech enhancement model requiring ultralow computational
    resources", ICASSP. There the arguments are spectra: of the network, and of the
    target, and the last term is of their inverse transforms, which end with the last
    whole hop. Here they are signals, so that for a whole number of hops only an
    inconsistent spectrum would make a difference. Measured against it: in float64
    values agree within 3e-16 and gradients within 5e-14.

    **Arguments:**

    - `n_fft`, `hop_length`: samples; 512 and 256 there.
    - `w_complex`, `w_mag`, `w_sisnr`: weights of the three terms, fixed there.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    owner = "gtcrn"
    with checks.owned_by(owner):
        square, power, floor = ElementwiseLoss("L2"), 0.3, 1e-12
        terms = [
            (
                "complex",
                square,
                PowerCompression(power, floor, "add"),
                weight_of(owner, "w_complex", w_complex),
            ),
            (
                "mag",
                square,
                Magnitude(power, floor, "add"),
                weight_of(owner, "w_mag", w_mag),
            ),
        ]
        transform = STFT(
            n_fft, hop_length, window="sqrt_hann", pad_mode="reflect", padding="torch"
        )
        return SumLoss(
            {
                "spectra": TimeFrequencyLoss(transform, **columns_of(terms)),
                "sisnr": SISDRLoss(zero_mean=False),
            },
            {"spectra": 1.0, "sisnr": weight_of(owner, "w_sisnr", w_sisnr) * 0.1},
        )


def deepfilternet(
    n_ffts: Sequence[int] = (256, 512, 1024, 2048),
    gamma: float = 0.3,
    factor: Any = 500.0,
    f_complex: Any = 500.0,
) -> AbstractLoss:
    r"""DeepFilterNet's `MultiResSpecLoss`, as DeepFilterNet 3 is trained with.

    $$\sum_N f\, \overline{(A_x - A_y)^2} + \tfrac12 f_c\,
      \overline{|A_x e^{j\varphi_x} - A_y e^{j\varphi_y}|^2}, \quad
      A = \max(|\mathrm{STFT}|, 10^{-12})^\gamma$$

    with phases $\varphi$ of the spectra of centred frames of $N$ samples, padded by
    reflection, hops $\lfloor N/4 \rfloor$, divided by $\sqrt N$. The second mean is one
    over real and imaginary parts there, hence the half. Without compression,
    `gamma=1`, there is no floor. The class itself has `gamma=1, factor=1,
    f_complex=None`.

    Source: Rikorose/DeepFilterNet at d375b2d, `df/loss.py`, with the configuration of
    the model DeepFilterNet3; Schröter, Rosenkranz, Escalante-B., Maier (2022),
    "DeepFilterNet2: Towards real-time speech enhancement on embedded devices for
    full-band audio", IWAENC. Not reproduced: the derivative of the phase is made
    smaller there where $|X| < 10^{-5}$; here it is 0 below the floor. Its
    `SpectralLoss` has the same two terms of one spectrum, with a weight of magnitudes
    that are too low: `ElementwiseLoss("L2", factor_under=...)`.
    Measured against it, with windows in float64: in float64 values agree within 2e-16
    and gradients within 1e-13.

    **Arguments:**

    - `n_ffts`: samples of the frames.
    - `gamma`: $\gamma$, positive.
    - `factor`: $f$, the weight of the magnitudes.
    - `f_complex`: $f_c$, a number or one for each of `n_ffts`; `None` for none.

    **Raises:** `ValueError` for an argument outside these rules.
    """
    owner = "deepfilternet"
    with checks.owned_by(owner, n_fft="n_ffts", power="gamma"):
        sizes = checks.positive_ints(owner, "n_ffts", n_ffts)
        if min(sizes) < 4:
            checks.refuse(owner, "n_ffts", "be at least 4, for hops", min(sizes))
        gamma = checks.positive(owner, "gamma", gamma)
        factor = weight_of(owner, "factor", factor)
        factors = _factors(owner, f_complex, len(sizes))
        floor = 0.0 if gamma == 1 else _POWER_FLOOR
        compressed = Identity() if gamma == 1 else PowerCompression(gamma, floor)
        square = ElementwiseLoss("L2")
        losses = []
        for n, complex_factor in zip(sizes, factors, strict=True):
            terms = [
                ("mag", square, Magnitude(gamma, floor), factor),
                ("complex", square, compressed, complex_factor / 2),
            ]
            transform = STFT(
                n,
                n // 4,
                pad_mode="reflect",
                padding="torch",
                normalized="frame_length",
            )
            losses.append(TimeFrequencyLoss(transform, **columns_of(terms)))
        names = unique_names([str(n) for n in sizes])
        return SumLoss(dict(zip(names, losses, strict=True)))


def _factors(owner: str, f_complex: Any, n: int) -> list[Any]:
    """Return the weight of the complex spectra for each size."""
    if f_complex is None:
        return [0.0] * n
    if not isinstance(f_complex, list | tuple):
        return [weight_of(owner, "f_complex", f_complex)] * n
    items = items_of(f_complex) or ()
    if len(items) != n:
        rule = f"be a number, None, or a number for each of the {n} `n_ffts`"
        checks.refuse(owner, "f_complex", rule, f_complex)
    return [weight_of(owner, "f_complex", item) for item in items]
