"""What transforms, losses and composites refuse, and the exact words they say it in.

Scales, tables, saved files and the command line have such tests beside their own.
"""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import korvax_eqx as ke

SR = 8000
NAN_WINDOW = np.array([1.0, np.nan, 1.0, 1.0])
KNOWN_WINDOW = "be a window that `scipy.signal.get_window` knows. Got 'hanning_'. SciPy"
TOO_SHORT_BASIS = np.ones((4, 9))
EMPTY = "be a non-empty sequence of integers. Got "
INTEGER = "be a positive integer. Got "
BOOLEAN = "be True or False. Got "
POSITIVE = "be positive. Got "
REAL = "be a finite real number. Got "
PIECES = "be 'auto', a positive number of signals or None. Got 'all'."
SIGNAL_LOSS = "be a loss on signals. Got '`ElementwiseLoss`, a loss on spectra'."
PAD_MODES = (
    "be one of 'constant', 'edge', 'linear_ramp', 'maximum', 'mean', 'median', "
    "'minimum', 'reflect', 'symmetric', 'wrap'. Got 'zeros'."
)
PADDING = "be 'torch', 'same', 'end', None or two non-negative integers. Got "
NORMALIZED = "be one of False, True, 'window', 'frame_length', 'sum'. Got "

# Of each class: arguments that are right, and for every argument what it refuses, as
# (argument, value, the message after "must"). Messages that go on, in SciPy's words,
# end in "...".
FRAMES = [
    ("n_fft", 0, INTEGER + "0."),
    ("n_fft", 64.0, INTEGER + "64.0."),
    ("n_fft", True, INTEGER + "True."),
    ("hop_length", 0, INTEGER + "0."),
    ("hop_length", -16, INTEGER + "-16."),
    ("hop_length", 16.0, INTEGER + "16.0."),
    ("win_length", 0, INTEGER + "0."),
    (
        "win_length",
        65,
        "be at most n_fft = 64. Got 65. Make `n_fft` at least as long as the window.",
    ),
    ("window", "hanning_", KNOWN_WINDOW + "..."),
    (
        "window",
        None,
        "be a window's name, a number, a tuple or an array of samples. Got None.",
    ),
    (
        "window",
        NAN_WINDOW,
        "be a real floating array with 1 axis without NaN or infinities. "
        "Got an array float64[4].",
    ),
    (
        "window",
        np.ones((8, 8)),
        "be a real floating array with 1 axis. Got an array float64[8, 8].",
    ),
    (
        "window",
        np.ones(64, int),
        "be a real floating array with 1 axis. Got an array int64[64].",
    ),
    ("center", 1, BOOLEAN + "1."),
    ("center", None, BOOLEAN + "None."),
    ("pad_mode", "zeros", PAD_MODES),
    ("padding", -1, PADDING + "-1."),
    ("padding", "valid", PADDING + "'valid'."),
    ("padding", (1, -1), PADDING + "(1, -1)."),
    ("padding", (1, True), PADDING + "(1, True)."),
    ("padding", [1, 2, 3], PADDING + "[1, 2, 3]."),
    (
        "padding",
        {"padding": "same", "hop_length": 65},
        "be another than 'same' for n_fft = 64 < hop_length. Got 'same'. "
        "Make the hop of 65 samples shorter.",
    ),
    ("extra_padding", 1, BOOLEAN + "1."),
    ("normalized", 1, NORMALIZED + "1."),
    ("normalized", "frame", NORMALIZED + "'frame'."),
]
FLOOR = [
    ("floor", -1e-8, "be non-negative. Got -1e-08."),
    ("floor", float("nan"), REAL + "nan."),
    ("floor_mode", "max", "be one of 'clip', 'add'. Got 'max'."),
]
FLOOR_OF_COMPLEX = (
    "floor",
    {"floor": 1e-8, "power": None},
    "be 0 for the complex transform, power=None. Got 1e-08. Give a `power`.",
)
POWER = [
    ("power", 0, POSITIVE + "0."),
    ("power", -1.0, POSITIVE + "-1.0."),
    ("power", "2", REAL + "'2'."),
    ("power", float("nan"), REAL + "nan."),
]
MEL = [
    ("sr", 0, POSITIVE + "0."),
    ("sr", "8k", REAL + "'8k'."),
    ("n_mels", 0, INTEGER + "0."),
    ("fmin", -1.0, "be non-negative. Got -1.0."),
    (
        "fmin",
        5000.0,
        "be below the highest frequency, 4000.0 Hz. Got 5000.0. "
        "Lower `fmin` or raise `fmax`.",
    ),
    ("fmax", 0.0, POSITIVE + "0.0."),
    ("htk", 1, BOOLEAN + "1."),
]
BASIS = (
    "basis",
    TOO_SHORT_BASIS,
    "be an array of shape (n_mels, n_fft // 2 + 1) = (4, 33). Got an array "
    "float64[4, 9]. Pass the `n_mels` and `n_fft` that the basis was made for.",
)
MEL_NORM = (
    "be 'slaney', None or a positive order of a norm (`math.inf` too). Got 'slany'."
)
VQT = [
    ("sr", 0, POSITIVE + "0."),
    ("hop_length", 0, INTEGER + "0."),
    ("fmin", 0.0, POSITIVE + "0.0."),
    ("fmax", 500, "be above fmin = 500.0 Hz. Got 500.0."),
    (
        "fmax",
        5000.0,
        "keep all bins at or below the Nyquist frequency, 4000.0 Hz: bin 40 is at "
        "4756.83 Hz. Got 5000.0. Use an `fmax` of at most 4000.0 Hz.",
    ),
    ("n_bins", 0, INTEGER + "0."),
    ("n_bins", None, INTEGER + "None. Say how many bins, or give `fmax`."),
    (
        "n_bins",
        84,
        "keep all bins at or below the Nyquist frequency, 4000.0 Hz: bin 84 is at "
        "60408 Hz. Got 84. Use at most n_bins=37, or a lower `fmin`.",
    ),
    ("bins_per_octave", 12.0, INTEGER + "12.0."),
    ("filter_scale", 0, POSITIVE + "0."),
    (
        "norm_kernels",
        -1,
        "be a positive order of a norm (`math.inf` too), or None or 0. Got -1.",
    ),
    *POWER,
    ("window", "hanning_", KNOWN_WINDOW + "..."),
    (
        "window",
        jnp.ones(8),
        "be a window's name, a number or a tuple of hashable values. "
        "Got an array float32[8].",
    ),
    ("center", 1, BOOLEAN + "1."),
    (
        "normalization_type",
        "none",
        "be one of 'librosa', 'convolutional', 'wrap'. Got 'none'.",
    ),
    ("pad_mode", "zeros", PAD_MODES),
]
NAMES = [
    ("names", names, f"have one name for each of the 2 losses, all different. {got}")
    for names, got in (
        (["a"], "Got ['a']."),
        (["a", "a"], "Got ['a', 'a']."),
        (3, "Got 3."),
    )
]
PARTS = [
    ("losses", [], "hold at least one loss. Got []."),
    ("losses", {"losses": {}}, "hold at least one loss. Got {}."),
    ("losses", 5, "be a mapping of names to losses, or a sequence of losses. Got 5."),
    ("losses", [ke.ElementwiseLoss()], SIGNAL_LOSS),
    (
        "losses",
        {"losses": {"a/b": abs}},
        "have names without '/', which separates them in a log. Got 'a/b'.",
    ),
    ("losses", {"losses": {"a": "L1"}}, "be callable. Got 'L1'."),
]
PART_WEIGHTS = [
    ("weights", [1.0], "have one number for each of the 2 losses. Got [1.0]."),
    (
        "weights",
        {"weights": {"a": 1.0}},
        "have one number for each of the losses, a, b. Got ['a'].",
    ),
    ("weights", {"weights": {"a": 1.0, "b": "1"}}, REAL + "'1'."),
    (
        "weights",
        jnp.ones(3),
        "have one number for each of the 2 losses. Got an array float32[3].",
    ),
]
CLASSES: dict[type, tuple[dict[str, Any], list[tuple[str, Any, str]]]] = {
    ke.STFT: ({"n_fft": 64}, FRAMES),
    ke.Spectrogram: ({"n_fft": 64}, [*FRAMES, *POWER, *FLOOR]),
    ke.Spectrogram: ({"n_fft": 64}, [*FRAMES, *POWER, *FLOOR, FLOOR_OF_COMPLEX]),
    ke.MelSpectrogram: (
        {"sr": SR, "n_fft": 64, "n_mels": 4},
        [*FRAMES, *POWER, *FLOOR, *MEL, BASIS, ("norm", "slany", MEL_NORM)],
    ),
    ke.MFCC: (
        {"sr": SR, "n_fft": 64, "n_mels": 4, "n_mfcc": 2},
        [
            *FRAMES,
            *POWER,
            *FLOOR,
            *MEL,
            BASIS,
            ("mel_norm", "slany", MEL_NORM),
            ("n_mfcc", 0, INTEGER + "0."),
            ("n_mfcc", 5, "be at most the number of bins or bands, 4. Got 5."),
            ("norm", "forward", "be one of 'ortho', 'backward', None. Got 'forward'."),
            ("mag_scale", "dB", "be one of 'linear', 'log', 'db'. Got 'dB'."),
            ("lifter", -1, "be non-negative. Got -1."),
            ("amin", 0, "be positive. Got 0."),
            ("top_db", -1, "be non-negative. Got -1."),
        ],
    ),
    ke.CQT: ({"sr": SR, "fmin": 500.0, "n_bins": 12}, VQT),
    ke.VQT: (
        {"sr": SR, "fmin": 500.0, "n_bins": 12},
        [
            *VQT,
            ("gamma", "0", REAL + "'0'."),
            (
                "gamma",
                -100.0,
                "leave every kernel a positive bandwidth. Got -100.0. It must exceed "
                "-29.7315.",
            ),
        ],
    ),
    ke.ElementwiseLoss: (
        {},
        [
            ("metric", "L3", "be one of 'L1', 'L2'. Got 'L3'."),
            ("reduction", "none", "be one of 'mean', 'sum'. Got 'none'."),
            ("factor_under", -1.0, "be non-negative. Got -1.0."),
            ("factor_over", float("inf"), REAL + "inf."),
        ],
    ),
    ke.SpectralConvergenceLoss: (
        {},
        [
            ("eps", -1.0, "be non-negative. Got -1.0."),
            ("eps", "0", REAL + "'0'."),
            ("reference", "x", "be one of 'target', 'estimate'. Got 'x'."),
        ],
    ),
    ke.SpectralOptimalTransportLoss: (
        {},
        [
            (
                "positions",
                np.array([0.0, 2.0, 1.0]),
                "be ascending. Got an array float64[3]. "
                "Sort the bins by position first.",
            ),
            (
                "positions",
                [0.0, 2.0, 1.0],
                "be ascending. Got [0.0, 2.0, 1.0]. Sort the bins by position first.",
            ),
            (
                "positions",
                np.ones((2, 2)),
                "be a sequence or an array of finite real numbers, with 1 axis. "
                "Got an array float64[2, 2].",
            ),
            (
                "positions",
                np.array([0.0, np.nan]),
                "be a sequence or an array of finite real numbers, with 1 axis. "
                "Got an array float64[2].",
            ),
            (
                "positions",
                jnp.ones(3, int),
                "be a real floating array with 1 axis. Got an array int32[3].",
            ),
            ("p", 0.5, "be at least 1. Got 0.5."),
            ("p", "2", REAL + "'2'."),
            ("normalize", 1, BOOLEAN + "1."),
            ("balanced", "yes", BOOLEAN + "'yes'."),
            ("quantile_lowpass", None, BOOLEAN + "None."),
            ("positions", "bark", "be one of 'linear', 'log', 'mel'. Got 'bark'."),
            (
                "positions",
                {"positions": "mel", "sr": SR, "axis": "time"},
                "be None, 'linear' or an array with `axis=\"time\"`. Got 'mel'.",
            ),
            (
                "positions",
                {"positions": "linear", "circular": True, "p": 1},
                "be None or an array with `circular=True`. Got 'linear'. Names place a "
                "bin at 1, which on a ring of 1 is the place of 0.",
            ),
            ("reference", None, "be one of 'estimate', 'target'. Got None."),
            ("axis", "bins", "be one of 'frequency', 'time'. Got 'bins'."),
            ("root", 1, BOOLEAN + "1."),
            ("root_eps", -1e-3, "be non-negative. Got -0.001."),
            ("circular", 1, BOOLEAN + "1."),
            ("p", {"circular": True}, "be 1 with `circular=True`. Got 2."),
            (
                "balanced",
                {"circular": True, "p": 1, "balanced": False},
                "be True with `circular=True`. Got False.",
            ),
            (
                "quantile_lowpass",
                {"circular": True, "p": 1, "quantile_lowpass": True},
                "be False with `circular=True`. Got True.",
            ),
            ("period", 0, POSITIVE + "0."),
            (
                "period",
                {"circular": True, "p": 1, "positions": [0.0, 2.0]},
                "be at least the span of the positions. Got 1.0.",
            ),
            ("sr", 0, POSITIVE + "0."),
            (
                "sr",
                {"positions": "log"},
                'be the sample rate in Hz for `positions="log"`. Got None.',
            ),
            ("fmin", 0.0, POSITIVE + "0.0."),
            ("fmin", {"positions": "log", "sr": 60}, "be below `sr / 2`. Got 32.7."),
            ("htk", 1, BOOLEAN + "1."),
            (
                "weighting",
                "loudness",
                "be one of 'uniform', 'energy', 'active'. Got 'loudness'.",
            ),
            ("mass_weight", -1, "be non-negative. Got -1."),
            ("eps", 0.0, POSITIVE + "0.0."),
            ("floor", 0.0, "be at least 1e-12. Got 0.0."),
            ("floor", "0", REAL + "'0'."),
        ],
    ),
    ke.TimeFrequencyLoss: (
        {"transform_fn": ke.Spectrogram(64), "loss_fn": [ke.ElementwiseLoss()] * 2},
        [
            ("transform_fn", "stft", "be callable. Got 'stft'."),
            ("loss_fn", "L1", "be callable, or a sequence of callables. Got 'L1'."),
            ("loss_fn", [], "be callable, or a sequence of callables. Got []."),
            (
                "loss_fn",
                [abs, None],
                "be callable, or a sequence of callables. "
                "Got [<built-in function abs>, None].",
            ),
            ("scale_fn", "db", "be callable, or a sequence of callables. Got 'db'."),
            (
                "scale_fn",
                [ke.Log()] * 3,
                "be one scale, or one for each of the 2 losses. Got '3 scales'.",
            ),
            ("weights", [1.0], "have one number for each of the 2 losses. Got [1.0]."),
            ("weights", 1.0, "have one number for each of the 2 losses. Got 1.0."),
            (
                "weights",
                jnp.ones(3),
                "have one number for each of the 2 losses. Got an array float32[3].",
            ),
            (
                "weights",
                jnp.ones(2, int),
                "be a real floating array with 1 axis. Got an array int32[2].",
            ),
            ("weights", [1.0, float("inf")], REAL + "inf."),
            (
                "transform_fn",
                ke.ElementwiseLoss(),
                "be a transform, from signals to spectra. "
                "Got '`ElementwiseLoss`, a loss on spectra'.",
            ),
            (
                "transform_fn",
                ke.Spectrogram,
                "be an object, not a class. Got 'Spectrogram'. "
                "Make an instance: `Spectrogram(...)`.",
            ),
            (
                "loss_fn",
                ke.PitchTransportLoss(),
                "be a loss on spectra. Got '`PitchTransportLoss`, a loss on signals'.",
            ),
            *NAMES,
            ("piece_size", "all", PIECES),
            ("piece_size", 0, INTEGER + "0."),
            ("piece_size", 1.5, INTEGER + "1.5."),
        ],
    ),
    ke.MRSTFTLoss: (
        {"hop_lengths": (16, 32), "win_lengths": (64, 128)},
        [
            ("hop_lengths", (), EMPTY + "()."),
            ("hop_lengths", 16, EMPTY + "16."),
            ("hop_lengths", (16, 0), INTEGER + "0."),
            ("win_lengths", (64, 128.0), INTEGER + "128.0."),
            ("fft_sizes", (64, -128), INTEGER + "-128."),
            (
                "win_length",  # of the first resolution
                {"fft_sizes": (32, 128)},
                "be at most n_fft = 32. Got 64. "
                "Make `n_fft` at least as long as the window.",
            ),
            ("window", "hanning_", KNOWN_WINDOW + "..."),
            (
                "window",
                ["hann"],
                "be one window, or one for each of 2 resolutions. Got '1 windows'.",
            ),
            ("w_lin", "1", REAL + "'1'."),
            ("w_log", None, REAL + "None."),
            (
                "w_log",
                jnp.ones(2),
                "be a real floating scalar. Got an array float32[2].",
            ),
            ("w_sc", float("nan"), REAL + "nan."),
            ("lin_dist", "L3", "be one of 'L1', 'L2'. Got 'L3'."),
            ("log_dist", "l1", "be one of 'L1', 'L2'. Got 'l1'."),
            ("log_fac", -1.0, "be positive. Got -1.0."),
            ("log_eps", 0.0, "be positive. Got 0.0."),
            ("power", 0, POSITIVE + "0."),
            ("center", 1, BOOLEAN + "1."),
            ("pad_mode", "zeros", PAD_MODES),
            (
                "resolution_weights",
                [1.0],
                "have one number for each of the 2 resolutions. Got [1.0].",
            ),
            (
                "resolution_weights",
                jnp.ones((2, 2)),
                "be a real floating array with 1 axis. Got an array float32[2, 2].",
            ),
            ("piece_size", "all", PIECES),
        ],
    ),
    ke.SmoothMRSTFTLoss: (
        {},
        [
            ("hop_lengths", (), EMPTY + "()."),
            ("win_lengths", (64, 0), INTEGER + "0."),
            ("window", "hanning_", KNOWN_WINDOW + "..."),
            ("log_dist", "l1", "be one of 'L1', 'L2'. Got 'l1'."),
            ("log_fac", -1.0, POSITIVE + "-1.0."),
            ("log_eps", 0.0, POSITIVE + "0.0."),
            ("center", 1, BOOLEAN + "1."),
            ("pad_mode", "zeros", PAD_MODES),
            (
                "resolution_weights",
                [1.0],
                "have one number for each of the 6 resolutions. Got [1.0].",
            ),
            ("piece_size", "all", PIECES),
        ],
    ),
    ke.MultiResolutionLoss: (
        {
            "transform_fns": [ke.Spectrogram(64), ke.Spectrogram(128)],
            "loss_fn": [ke.ElementwiseLoss()] * 2,
        },
        [
            (
                "transform_fns",
                [],
                "be callable, or a sequence of callables. Got [].",
            ),
            (
                "transform_fns",
                [ke.Log()],
                "be a transform, from signals to spectra. "
                "Got '`Log`, a scale, from spectra to spectra'.",
            ),
            ("loss_fn", "L1", "be callable, or a sequence of callables. Got 'L1'."),
            (
                "scale_fn",
                [ke.Log()] * 3,
                "be one scale, or one for each of the 2 losses. Got '3 scales'.",
            ),
            ("weights", [1.0], "have one number for each of the 2 losses. Got [1.0]."),
            (
                "resolution_weights",
                1.0,
                "have one number for each of the 2 resolutions. Got 1.0.",
            ),
            *NAMES,
            ("piece_size", "all", PIECES),
        ],
    ),
    ke.SumLoss: (
        {"losses": {"a": ke.PitchTransportLoss(), "b": abs}},
        [
            *PARTS,
            *PART_WEIGHTS,
            ("monitor", [], "hold at least one loss. Got []."),
            ("monitor", {"monitor": {"a": abs}}, "have names that none of ..."),
        ],
    ),
    ke.RandomSubsetLoss: (
        {"losses": {"a": ke.PitchTransportLoss(), "b": abs}},
        [
            *PARTS,
            *PART_WEIGHTS,
            ("n_draws", 0, INTEGER + "0."),
            ("n_draws", 3, "be at most the number of losses, 2. Got 3."),
        ],
    ),
    ke.MappedLoss: (
        {"map_fn": ke.PreEmphasis(), "loss": ke.PitchTransportLoss()},
        [
            ("map_fn", "mid-side", "be callable. Got 'mid-side'."),
            (
                "map_fn",
                ke.Log(),
                "be a signal map. Got '`Log`, a scale, from spectra to spectra'.",
            ),
            (
                "map_fn",
                ke.MidSide,
                "be an object, not a class. Got 'MidSide'. "
                "Make an instance: `MidSide(...)`.",
            ),
            ("loss", ke.ElementwiseLoss(), SIGNAL_LOSS),
            ("loss", None, "be callable. Got None."),
        ],
    ),
    ke.MixtureInvariantLoss: (
        {"loss": ke.PitchTransportLoss()},
        [
            ("loss", ke.ElementwiseLoss(), SIGNAL_LOSS),
            ("loss", None, "be callable. Got None."),
        ],
    ),
    ke.PermutationInvariantLoss: (
        {"loss": ke.PitchTransportLoss()},
        [
            ("loss", ke.ElementwiseLoss(), SIGNAL_LOSS),
            ("loss", None, "be callable. Got None."),
        ],
    ),
    ke.PitchTransportLoss: (
        {},
        [
            ("n_fft", 0, INTEGER + "0."),
            ("hop_length", 0.5, INTEGER + "0.5."),
            ("window", "hanning_", KNOWN_WINDOW + "..."),
            (
                "window",
                jnp.ones(8),
                "be a window's name or a tuple. Got an array float32[8].",
            ),
            ("p", 0.5, "be at least 1. Got 0.5."),
            ("piece_size", "all", PIECES),
        ],
    ),
}
CONFIGURATIONS = [(cls, *case) for cls, (_, cases) in CLASSES.items() for case in cases]


def assert_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        call()
    said = str(error.value)
    if message.endswith("..."):
        assert said.startswith(message.removesuffix("..."))
    else:
        assert said == message


# A hop longer than the window is allowed by itself, and warned of.
@pytest.mark.filterwarnings("ignore:.*between two frames are skipped")
@pytest.mark.parametrize(
    ("cls", "argument", "value", "rule"),
    CONFIGURATIONS,
    ids=[f"{cls.__name__}-{name}-{value}" for cls, name, value, _ in CONFIGURATIONS],
)
def test_configuration(cls, argument, value, rule):
    given = value if isinstance(value, dict) else {argument: value}
    assert_refused(
        lambda: cls(**{**CLASSES[cls][0], **given}),
        f"`{cls.__name__}({argument}=...)` must {rule}",
    )


@pytest.mark.parametrize("cls", CLASSES)
def test_every_argument_has_its_refusal(cls):
    right, cases = CLASSES[cls]
    cls(**right)
    assert set(inspect.signature(cls).parameters) <= {name for name, *_ in cases}


def test_resolutions_of_different_numbers():
    message = (
        "`MRSTFTLoss(hop_lengths=..., win_lengths=...)` must have one entry for each "
        "resolution. Got 1 and 2 entries. "
        "If you give one of these arguments, give all."
    )
    assert_refused(lambda: ke.MRSTFTLoss((16,), (64, 128)), message)
    message = (
        "`MRSTFTLoss(hop_lengths=..., win_lengths=..., fft_sizes=...)` must have one "
        "entry for each resolution. Got 2, 2 and 1 entries. "
        "If you give one of these arguments, give all."
    )
    assert_refused(lambda: ke.MRSTFTLoss((16, 32), (64, 128), (128,)), message)
    message = (
        "`SmoothMRSTFTLoss(hop_lengths=..., win_lengths=...)` must have one entry for "
        "each resolution. Got 1 and 6 entries. "
        "If you give one of these arguments, give all."
    )
    assert_refused(lambda: ke.SmoothMRSTFTLoss(hop_lengths=(16,)), message)


# ------------------------------------------------------------------------- signals

TRANSFORMS = {
    "STFT": ke.STFT(64),
    "Spectrogram": ke.Spectrogram(64),
    "MelSpectrogram": ke.MelSpectrogram(SR, 64, n_mels=4),
    "MFCC": ke.MFCC(SR, 64, n_mels=4, n_mfcc=2),
    "CQT": ke.CQT(SR, fmin=500.0, n_bins=12),
    "VQT": ke.VQT(SR, fmin=500.0, n_bins=12),
}
COMPOSITES = {
    "TimeFrequencyLoss": ke.TimeFrequencyLoss(ke.Spectrogram(64), ke.ElementwiseLoss()),
    "MRSTFTLoss": ke.MRSTFTLoss((16,), (64,)),
    "SmoothMRSTFTLoss": ke.SmoothMRSTFTLoss(),
    "PitchTransportLoss": ke.PitchTransportLoss(64, 16),
}
GOOD = jnp.ones((2, 300))
INTEGERS = (
    "must hold real floats. Got an array {}. Convert it first, e.g. "
    "`{}.astype('float32') / 32768` for 16-bit integer samples, `.real` or `abs` for "
    "complex values."
)
# The kinds of signals that are refused: what is said after "`Class`: `x` ".
SIGNALS = {
    "list": (
        [0.0] * 300,
        "must be a JAX or NumPy array of real floats. Got list. "
        "Convert it, `jnp.asarray(..., float)`.",
    ),
    "integers": (np.ones(300, np.int16), INTEGERS.format("int16[300]", "{}")),
    "booleans": (np.ones(300, bool), INTEGERS.format("bool[300]", "{}")),
    "complex": (jnp.ones(300, complex), INTEGERS.format("complex64[300]", "{}")),
    "scalar": (
        jnp.ones(()),
        "must have a sample axis, i.e. shape (*channels, n_samples). Got a scalar.",
    ),
    "empty": (jnp.ones((2, 0)), "must not be empty. Got an array float32[2, 0]."),
    "no channels": (
        jnp.ones((0, 300)),
        "must not be empty. Got an array float32[0, 300].",
    ),
}


@pytest.mark.parametrize("kind", SIGNALS)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_refuse_what_is_no_signal(name, kind):
    x, rule = SIGNALS[kind]
    assert_refused(lambda: TRANSFORMS[name](x), f"`{name}`: `x` {rule.format('x')}")


@pytest.mark.parametrize("kind", SIGNALS)
@pytest.mark.parametrize("name", COMPOSITES)
def test_composites_refuse_what_is_no_signal(name, kind):
    loss, (bad, rule) = COMPOSITES[name], SIGNALS[kind]
    calls = {
        "x": [lambda: loss(bad, GOOD), lambda: loss.with_terms(bad, GOOD)],
        "y": [lambda: loss(GOOD, bad), lambda: loss.bind(bad)],
    }
    for argument, doing in calls.items():
        for call in doing:
            assert_refused(call, f"`{name}`: `{argument}` {rule.format(argument)}")


@pytest.mark.parametrize("name", COMPOSITES)
def test_composites_broadcast_nothing(name):
    loss, other = COMPOSITES[name], GOOD[:1]
    message = (
        f"`{name}`: the estimate and the target must have the same shape; nothing is "
        "broadcast. Got (1, 300) and (2, 300). Use `jnp.broadcast_to`, or trim or pad "
        "one of them."
    )
    for call in (
        lambda: loss(other, GOOD),
        lambda: loss.with_terms(other, GOOD),
        lambda: loss.bind(GOOD)(other),
        lambda: loss.bind(GOOD).with_terms(other),
        lambda: jax.jit(loss)(other, GOOD),
        lambda: jax.grad(loss)(other, GOOD),
    ):
        assert_refused(call, message)


@pytest.mark.parametrize(
    "loss",
    [
        ke.ElementwiseLoss(),
        ke.SpectralConvergenceLoss(),
        ke.SpectralOptimalTransportLoss(),
    ],
)
def test_spectral_losses_broadcast_nothing(loss):
    message = (
        f"`{type(loss).__name__}`: the estimate and the target must have the same "
        "shape; nothing is broadcast. Got (33, 1) and (33, 5). Use "
        "`jnp.broadcast_to`, or trim or pad one of them."
    )
    assert_refused(lambda: loss(jnp.ones((33, 1)), jnp.ones((33, 5))), message)


@pytest.mark.parametrize("short", [1, 63])
def test_too_short_for_a_valid_frame(short):
    x = jnp.ones(short)
    message = (
        f"The signal is too short for one frame: 64 samples are needed, {short} were "
        "given. Pad the signal, use `center=True`, or choose a smaller `n_fft`."
    )
    spectrogram = ke.Spectrogram(64, center=False)
    for call in (
        lambda: ke.STFT(64, center=False)(x),
        lambda: spectrogram(x),
        lambda: ke.MelSpectrogram(SR, 64, n_mels=4, center=False)(x),
        lambda: ke.MFCC(SR, 64, n_mels=4, n_mfcc=2, center=False)(x),
        lambda: ke.TimeFrequencyLoss(spectrogram, ke.ElementwiseLoss())(x, x),
        lambda: ke.MRSTFTLoss((16,), (64,), center=False)(x, x),
        lambda: ke.PitchTransportLoss(64, 16)(x, x),
    ):
        assert_refused(call, message)


# ------------------------------------------------------------------------- spectra


def test_losses_refuse_spectra_of_one_axis():
    message = (
        "`{}`: `S_x` must have the shape (*channels, n_bins, n_frames). Got (33,). Add "
        "an axis for a single frame: `S_x[:, None]`."
    )
    S = jnp.ones(33)
    for loss in (ke.SpectralConvergenceLoss(), ke.SpectralOptimalTransportLoss()):
        assert_refused(
            lambda loss=loss: loss(S, S), message.format(type(loss).__name__)
        )


@pytest.mark.parametrize("argument", ["S_x", "S_y"])
def test_transport_refuses_complex_spectra(argument):
    S, C = jnp.ones((9, 3)), jnp.ones((9, 3), complex)
    loss = ke.SpectralOptimalTransportLoss()
    message = (
        f"`SpectralOptimalTransportLoss`: `{argument}` must be a real spectrogram. Got "
        "an array complex64[9, 3]. Take magnitudes or powers first, e.g. "
        "`Spectrogram(power=2)`."
    )
    pair = (C, S) if argument == "S_x" else (S, C)
    assert_refused(lambda: loss(*pair), message)


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray, list])
def test_transport_needs_a_position_a_bin(array):
    S = jnp.ones((9, 3))
    loss = ke.SpectralOptimalTransportLoss(array([0.0, 1.0, 2.0]))
    message = (
        "`SpectralOptimalTransportLoss(positions=...)` must have one position for each "
        "bin of the spectra: 9. Got 3. Take the positions from the transform in use, "
        "e.g. `Spectrogram(...).frequencies`."
    )
    assert_refused(lambda: loss(S, S), message)


def test_losses_of_ones_own_must_return_a_scalar():
    loss = ke.TimeFrequencyLoss(ke.Spectrogram(64), lambda S_x, S_y: S_x - S_y)
    message = (
        "The loss `<lambda>` must return a scalar. Got the shape (2, 33, 19). Average "
        "over the axes that are left."
    )
    assert_refused(lambda: loss(GOOD, GOOD), message)


def test_waveform_losses_of_ones_own_must_return_a_value_a_signal():
    class Cubed(ke.AbstractWaveformLoss):
        axis: int | None

        def values(self, x, y):
            return jnp.mean(jnp.abs(x.x - y.x) ** 3, self.axis)

    assert Cubed(-1)(GOOD, 0 * GOOD) > 0
    message = (
        "The loss `Cubed` must return one value for each signal, here the shape (1,). "
        "Got (). Reduce over the samples alone, `axis=-1`."
    )
    assert_refused(lambda: Cubed(None)(GOOD, GOOD), message)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (ke.stft, {"n_fft": 64}),
        (ke.spectrogram, {"n_fft": 64}),
        (ke.mel_spectrogram, {"sr": SR, "n_fft": 64, "n_mels": 4}),
        (ke.mfcc, {"sr": SR, "n_fft": 64, "n_mels": 4, "n_mfcc": 2}),
        (ke.cqt, {"sr": SR, "fmin": 500.0, "n_bins": 12}),
        (ke.vqt, {"sr": SR, "fmin": 500.0, "n_bins": 12}),
    ],
)
def test_functions_refuse_what_their_classes_refuse(function, arguments):
    with pytest.raises(
        ValueError, match=r"hop_length=\.\.\.\)` must be a positive int"
    ):
        function(GOOD, **{**arguments, "hop_length": 0})
    with pytest.raises(ValueError, match="must hold real floats. Got an array int16"):
        function(np.ones(300, np.int16), **arguments)
