"""Losses of predicted spectra and sub-bands, and the consistency of spectra."""

import equinox as eqx
import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import recipes_numpy as originals

import korvax_eqx as ke
from korvax_eqx import recipes

RNG = np.random.default_rng(0)
N_SAMPLES = 2000
COMPRESSED = ke.PowerCompression(0.3, 1e-9, "add")
STFT = ke.STFT(64, 20)


def signals(*lead, n=N_SAMPLES):
    return RNG.standard_normal((2, *lead, n))


def mp_senet(*sizes):
    return ke.PredictionLoss(
        recipes.mp_senet(*sizes), consistency=0.1, consistency_scale=COMPRESSED
    )


def disturbed(S):
    """Spectra of no signal."""
    S = np.asarray(S)
    return (
        S
        * (1 + 0.3 * RNG.standard_normal(S.shape))
        * np.exp(0.5j * RNG.standard_normal(S.shape))
    )


@pytest.mark.parametrize("sizes", [(), (256, 64, 200)])
def test_mp_senet_of_spectra_is_the_formula(sizes):
    n_fft, hop, win_length = sizes or (400, 100, 400)
    x, y = signals(2)
    S = disturbed(originals.torch_stft(x, n_fft, hop, win_length))
    keywords = {"n_fft": n_fft, "hop_length": hop, "win_length": win_length}
    wave = librosa.istft(S, **keywords, length=N_SAMPLES)
    expected = originals.mp_senet(wave, y, (n_fft, hop, win_length), S=S)
    loss = mp_senet(*sizes)
    with jax.enable_x64(True):
        value, terms = loss.with_terms(jnp.asarray(S), jnp.asarray(y))
        np.testing.assert_allclose(value, expected, rtol=1e-10)
        np.testing.assert_allclose(sum(terms.values()), value, rtol=1e-14)
    assert list(terms) == [
        *(f"spectra/{name}" for name in ("mag", "ip", "gd", "iaf", "com")),
        "time",
        "consistency",
    ]


def test_gradient_of_spectra_agrees_with_finite_differences():
    loss = mp_senet(64, 16, 64)
    with jax.enable_x64(True):
        x, y = map(jnp.asarray, signals(2, n=300))
        S = jnp.asarray(disturbed(originals.torch_stft(np.asarray(x), 64, 16, 64)))
        t = jnp.asarray(RNG.standard_normal((2, *S.shape)))

        @jax.jit
        def value(h):
            return loss(S + h * jax.lax.complex(*t), y)

        exact = jax.jit(jax.grad(value))(0.0)
        step = 1e-8
        estimate = (value(step) - value(-step)) / (2 * step)
        np.testing.assert_allclose(exact, estimate, rtol=1e-5)


BANDS = {
    "mb_melgan": (
        lambda: recipes.mb_melgan(
            (64,),
            (16,),
            (60,),
            subband_fft_sizes=(32,),
            subband_hop_sizes=(8,),
            subband_win_lengths=(30,),
        ),
        lambda x, y: 0.5 * originals.parallel_wavegan(x, y, ((64, 16, 60),)),
        lambda x, y: 0.5 * originals.parallel_wavegan(x, y, ((32, 8, 30),)),
    ),
    "rave": (
        lambda: recipes.rave((64,), n_bands=4),
        lambda x, y: originals.rave(x, y, (64,)),
        lambda x, y: originals.rave(x, y, (64,)),
    ),
}


@pytest.mark.parametrize("name", BANDS)
def test_of_bands_that_a_network_makes(name):
    """The bands are compared as they are, and the signal that is made of them."""
    make, full, sub = BANDS[name]
    loss = ke.PredictionLoss(make())
    bank = loss.step_fn
    assert isinstance(bank, ke.PQMF)
    with jax.enable_x64(True):
        _, y = signals(3)
        bands, target = RNG.standard_normal((3, 4, N_SAMPLES // 4)), bank(y)
        x = np.asarray(bank.inverse(jnp.asarray(bands)))
        value = loss(jnp.asarray(bands), jnp.asarray(y))
        flat = [np.asarray(b).reshape(-1, N_SAMPLES // 4) for b in (bands, target)]
        np.testing.assert_allclose(value, full(x, y) + sub(*flat), rtol=1e-10)


def everything():
    """Losses of spectra, of other spectra, of samples, of the batch and a drawn one."""
    spectra = ke.TimeFrequencyLoss(
        STFT,
        [ke.ElementwiseLoss(), ke.BatchSpectralConvergenceLoss(), ke.PhaseLoss()],
        [ke.RealImaginary(), ke.Magnitude(), ke.Identity()],
        [0.5, 2.0, 0.1],
    )
    drawn = ke.RandomSubsetLoss([ke.WaveformLoss("L2"), spectra])
    mr = ke.MRSTFTLoss((20, 16), (64, 32))
    return ke.SumLoss({"s": spectra, "d": drawn, "mr": mr, "si": ke.SISDRLoss()})


def test_spectra_of_signals_have_the_value_of_the_signals():
    inner = everything()
    loss = ke.PredictionLoss(inner, STFT)
    key = jax.random.key(2)
    with jax.enable_x64(True):
        x, y = map(jnp.asarray, signals(2, 3))
        value, terms = loss.with_terms(STFT(x), y, key=key)
        expected, expected_terms = inner.with_terms(x, y, key=key)
        np.testing.assert_allclose(value, expected, rtol=1e-10)
        assert list(terms) == list(expected_terms)
        for name, term in terms.items():
            np.testing.assert_allclose(term, expected_terms[name], atol=1e-10)


def test_mean_over_signals_jit_and_vmap():
    loss = mp_senet(64, 16, 64)
    stft = loss.step_fn
    x, y = (jnp.asarray(s, jnp.float32) for s in signals(3))
    S = stft(x) * 1.1
    value = loss(S, y)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(jax.jit(loss)(S, y), value, rtol=1e-5)
    each = jax.vmap(loss)(S, y)
    np.testing.assert_allclose(jnp.mean(each), value, rtol=1e-5)
    one = [loss(S[i], y[i]) for i in range(3)]
    np.testing.assert_allclose(each, one, rtol=1e-5)


def test_finite_where_the_formulas_are_not():
    loss = mp_senet(64, 16, 64)
    stft = loss.step_fn
    noise = jnp.asarray(signals(n=800)[0], jnp.float32)
    S = stft(noise)
    silence = jnp.zeros_like(S)
    both = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    for prediction in (S, silence, S.at[5, 7].set(0.0), 1e-20 * S, 1e12 * S):
        for y in (noise, jnp.zeros(800)):
            value, gradients = both(prediction, y)
            assert jnp.isfinite(value)
            assert all(jnp.all(jnp.isfinite(g)) for g in gradients)
    value, gradients = both(silence, jnp.zeros(800))
    assert value == 0 and not np.any(gradients[0])
    assert jnp.isnan(both(S.at[3, 3].set(jnp.nan), noise)[0])


# ------------------------------------------------------------------- consistency


@pytest.mark.parametrize("length", [None, 560, 571])
def test_consistency_is_its_formula(length):
    """By librosa's inverse, 0 for spectra of signals and not for others."""
    stft = ke.STFT(64, 16, 60, pad_mode="reflect", padding="torch")
    loss = ke.ConsistencyLoss(stft)
    x = signals(2, n=length or 560)[0]
    S = originals.torch_stft(x, 64, 16, 60)
    other = disturbed(S)
    wave = librosa.istft(other, n_fft=64, hop_length=16, win_length=60, length=length)
    difference = other - originals.torch_stft(wave, 64, 16, 60)
    with jax.enable_x64(True):
        assert loss(jnp.asarray(S), length) < 1e-28
        found = loss(jnp.asarray(other), length)
        each = jax.vmap(lambda S: loss(S, length))(jnp.asarray(other))
    np.testing.assert_allclose(found, np.mean(originals.power(difference)), rtol=1e-12)
    np.testing.assert_allclose(np.mean(np.asarray(each)), found, rtol=1e-12)


def test_consistency_with_a_scale_a_loss_and_functions():
    S = jnp.asarray(disturbed(STFT(jnp.asarray(signals()[0], jnp.float32))))
    S = S.astype(jnp.complex64)
    again = STFT(STFT.inverse(S, N_SAMPLES))
    for loss_fn, scale_fn in (
        (ke.ElementwiseLoss(), ke.Chain((ke.Magnitude(), ke.Log()))),
        (lambda a, b: jnp.max(jnp.abs(a - b)), lambda S: jnp.abs(S) ** 2),
    ):
        loss = ke.ConsistencyLoss(STFT, loss_fn, scale_fn)
        expected = loss_fn(scale_fn(S), scale_fn(again))
        np.testing.assert_allclose(loss(S, N_SAMPLES), expected, rtol=1e-5)


def test_a_learned_weight_of_consistency():
    loss = ke.PredictionLoss(
        ke.TimeFrequencyLoss(STFT, ke.ElementwiseLoss()), consistency=jnp.asarray(0.5)
    )
    x, y = (jnp.asarray(s, jnp.float32) for s in signals())
    S = jnp.asarray(disturbed(STFT(x)), jnp.complex64)
    gradient = jax.grad(lambda w: loss_with(loss, w)(S, y))(jnp.asarray(0.5))
    expected = ke.ConsistencyLoss(STFT)(S, N_SAMPLES)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5)


def test_a_learnable_window_is_that_of_the_prediction():
    """Inside a compiled function, two copies of the window are different arrays."""
    _, y = (jnp.asarray(s, jnp.float32) for s in signals())
    window = jnp.hanning(65)[:-1]
    stft = ke.STFT(64, 16, window=window)
    S = jnp.asarray(disturbed(stft(y)), jnp.complex64)
    spectral = ke.TimeFrequencyLoss(stft, ke.ElementwiseLoss("L2"), ke.Magnitude())
    loss = ke.PredictionLoss(spectral, stft)

    def formula(window, S, y):
        target = ke.STFT(64, 16, window=window)(y)
        return jnp.mean((jnp.abs(S) - jnp.abs(target)) ** 2)

    expected = jax.value_and_grad(formula)(window, S, y)
    calls = (loss, eqx.filter_jit(loss), ke.PredictionLoss(spectral))
    for call in calls:
        np.testing.assert_allclose(call(S, y), expected[0], rtol=1e-5)
    gradient = eqx.filter_jit(eqx.filter_grad(lambda loss: loss(S, y)))(loss)
    actual = gradient.step_fn.window
    np.testing.assert_allclose(actual, expected[1], rtol=1e-3, atol=1e-5)


def test_a_draw_of_losses_finds_its_step():
    x, y = (jnp.asarray(s, jnp.float32) for s in signals())
    spectral = ke.TimeFrequencyLoss(STFT, ke.ElementwiseLoss(), ke.Magnitude())
    drawn = ke.RandomSubsetLoss([spectral, ke.WaveformLoss()])
    loss, key = ke.PredictionLoss(drawn), jax.random.key(0)
    assert loss.step_fn == STFT
    expected = drawn(x, y, key=key)
    np.testing.assert_allclose(loss(STFT(x), y, key=key), expected, rtol=1e-4)


def loss_with(loss, weight):
    return ke.PredictionLoss(loss.loss, loss.step_fn, consistency=weight)


def test_made_of_values():
    made = mp_senet(), mp_senet()
    assert made[0] == made[1] and hash(made[0]) == hash(made[1])
    assert jax.tree.leaves(made[0]) == []
    for loss in (*made, ke.ConsistencyLoss(STFT, scale_fn=COMPRESSED)):
        assert eval(repr(loss), dict(vars(ke))) == loss
        assert ke.from_config(ke.to_config(loss)) == loss


S = np.ones((33, 20), np.complex64)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: ke.ConsistencyLoss(ke.Spectrogram()), "must be an `STFT`"),
        (
            lambda: ke.ConsistencyLoss(STFT, ke.BatchRelativeLoss()),
            r"`ConsistencyLoss\(loss_fn=...\)` must be a mean over signals",
        ),
        (lambda: ke.ConsistencyLoss(STFT, ke.Log()), "must be a loss on spectra"),
        (lambda: ke.ConsistencyLoss(STFT)(S[1:]), "`ConsistencyLoss`: `S` must have"),
        (lambda: ke.ConsistencyLoss(STFT)(S, 0), r"`ConsistencyLoss\(length=...\)`"),
        (lambda: ke.ConsistencyLoss(ke.STFT(64, 64))(S), "`ConsistencyLoss`: .*NOLA"),
        (lambda: ke.PredictionLoss(STFT), r"`PredictionLoss\(loss=...\)` must be a"),
        (lambda: ke.PredictionLoss(ke.WaveformLoss()), "begin with 0 different `STFT`"),
        (lambda: ke.PredictionLoss(ke.MRSTFTLoss()), "begin with 6 different `STFT`"),
        (
            lambda: ke.PredictionLoss(
                ke.TimeFrequencyLoss(STFT, ke.PhaseLoss()).bind(np.ones(380))
            )(S, np.ones(380)),
            "is bound. Leave out `bind`, and pass the target in the call",
        ),
        (
            lambda: ke.PredictionLoss(ke.WaveformLoss(), ke.Spectrogram()),
            "must be an `STFT` or a `PQMF`",
        ),
        (
            lambda: ke.PredictionLoss(ke.WaveformLoss(), ke.PQMF(), consistency=1.0),
            r"`PredictionLoss\(consistency=...\)` must be 0 for sub-bands",
        ),
        (
            lambda: ke.PredictionLoss(ke.WaveformLoss(), STFT)(S[1:], np.ones(380)),
            "`prediction` must be of the shape and kind",
        ),
        (
            lambda: ke.PredictionLoss(ke.WaveformLoss(), STFT)(S.real, np.ones(380)),
            "`prediction` must be of the shape and kind",
        ),
        (
            lambda: ke.PredictionLoss(ke.WaveformLoss(), STFT)([1.0], np.ones(380)),
            "`PredictionLoss`: `prediction` must be a JAX or NumPy array",
        ),
    ],
)
def test_bad_input(call, said):
    with pytest.raises(ValueError, match=said):
        call()
