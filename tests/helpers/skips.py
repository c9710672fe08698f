"""Which tests may be skipped, and why. A skip that is not listed here is a failure.

This shows tests that stop running. CI runs those in `PEERS` where the packages are
installed.
"""

import os

# Tests that compare with packages of the extra `bench`. `KORVAX_EQX_PEERS=1` says that
# these are installed: then only these tests run, and none of them may be skipped.
PEERS: dict[str, set[str]] = {
    "test_eps_modes.py": {"test_both_is_torchmetrics"},
    "test_framing.py": {
        "test_floor_clips_as_torchs_clamp",
        "test_hifigans_frames",
        "test_torch_padding_is_torchs",
    },
    "test_lengths.py": {"test_short_signals_as_in_torch"},
    "test_losses_cumulative_energy.py": {
        "test_defaults",
        "test_loss_is_that_of_the_package",
        "test_loss_is_the_formula",
    },
    "test_losses_norms.py": {
        "test_loss_is_the_formula",
        "test_signals_of_a_batch_are_mixed",
    },
    "test_losses_phase.py": {
        "test_l1_snr_of_real_spectra",
        "test_loss_on_complex_spectra_is_the_formula",
        "test_phase_loss_is_the_formula",
    },
    "test_maps.py": {"test_fir_equals_torch"},
    "test_numerics_waveform.py": {
        "test_equals_auraloss",
        "test_equals_torch_l1_snr",
        "test_equals_torchmetrics",
    },
    "test_patterns.py": {"test_a_loss_with_learned_weights_in_flax_nnx"},
    "test_permutation_invariant.py": {"test_equals_torchmetrics"},
    "test_porting.py": {"test_values_are_equal"},
    "test_ratio_limits.py": {
        "test_equals_torch_l1_snr_of_squares",
        "test_wsdr_is_the_project",
    },
    "test_readme.py": {"test_other_libraries"},
    "test_recipes_energy.py": {
        "test_equals_cels",
        "test_equals_cels_with_other_frames",
    },
    "test_recipes_originals.py": {"test_recipe_equals_the_original"},
    "test_recipes_separation.py": {
        "test_equals_torch_l1_snr",
        "test_equals_torch_l1_snr_of_both",
        "test_equals_torch_l1_snr_of_joined_channels",
        "test_log_wmse_with_a_smaller_gradient",
        "test_equals_torch_l1_snr_of_spectra",
        "test_equals_torch_log_wmse",
        "test_equals_torch_log_wmse_of_a_generalised_mean",
        "test_equals_torch_log_wmse_of_a_mixture",
        "test_equals_torch_log_wmse_with_a_response",
        "test_equals_torch_log_wmse_without_filter",
        "test_taps_are_those_of_the_package",
    },
    "test_recipes_speech.py": {"test_stable_audio_is_auraloss"},
    "test_recipes_sot.py": {
        "test_equals_sot_loss",
        "test_equals_sot_loss_by_default",
        "test_equals_the_sum_over_resolutions",
    },
    "test_scales_log.py": {
        "test_an_exponent_may_be_learned",
        "test_log_is_the_formula",
        "test_power_is_the_formula",
    },
    "test_scales_sums.py": {"test_scale_is_the_formula"},
    "test_stoi.py": {"test_equals_pystoi"},
    "test_tables_fir.py": {
        "test_a_weighting_taps_equal_auraloss",
        "test_k_weighting_equals_pyloudnorm",
    },
    "test_transport_loss.py": {
        "test_circular_equals_sot_loss",
        "test_equals_sot_loss",
    },
}
# Tests, or cases of tests, that need a platform, a number of devices, codecs, or a
# package that is in no extra.
ELSEWHERE: dict[str, set[str]] = {
    "test_bad_input.py": {
        "test_configuration_in_longer_floats_is_refused",
        "test_dtypes_that_jax_does_not_have",
    },
    "test_cli.py": {"test_outputs_that_cannot_be_written"},
    "test_engine_devices.py": {
        "test_one_device_is_a_plain_call",
    },
    "test_example_values.py": {
        "test_a_quieter_sound_and_a_coded_one_change_places",
        "test_coded_sounds_are_aligned",
    },
    "test_laws_protocol.py": {"test_repeated_use_keeps_no_memory"},
    "test_mixture_invariant.py": {"test_equals_asteroid"},
    "test_permutation_invariant.py": {"test_equals_asteroid"},
    "test_porting.py": {
        f"test_values_are_equal[{library}]"
        for library in (
            *("APNet2 and FreeV", "AudioSeal: loudness ratio", "BigVGAN", "DDSP"),
            *("DCUNet: weighted signal-to-distortion ratio", "DeepFilterNet"),
            *("Descript Audio Codec", "EnCodec", "GTCRN", "HiFi-GAN"),
            *("MP-SENet", "Multi-band MelGAN", "NeMo audio codec", "RAVE"),
            *("RAVE with its sub-bands", "Stable Audio", "Vocos"),
            *("asteroid: PMSQE", "asteroid: mixture-invariant training"),
            "Music-Source-Separation-Training: errors below a quantile",
            *("flamo: energy decay", "torch-stoi"),
        )
    },
    "test_pmsqe.py": {"test_equals_asteroid", "test_tables_are_those_of_torch_pesq"},
    "test_recipes_energy.py": {
        "test_equals_flamo",
        "test_equals_flamo_edc",
        "test_equals_flamo_edr",
    },
    "test_recipes_speech.py": {"test_equals_deepfilternet", "test_equals_vocos"},
    "test_saving_files.py": {
        "test_a_killed_save_leaves_the_old_file",
        "test_a_path_that_is_no_file_is_not_replaced",
        "test_permissions_and_links_are_kept",
    },
    "test_stoi.py": {"test_equals_torch_stoi"},
}

HAS_PEERS = os.environ.get("KORVAX_EQX_PEERS") == "1"


def is_expected(file: str, test: str, case: str) -> bool:
    """Whether a case of a test may be skipped here."""
    lists = [ELSEWHERE] if HAS_PEERS else [ELSEWHERE, PEERS]
    return any({test, case} & tests.get(file, set()) for tests in lists)
