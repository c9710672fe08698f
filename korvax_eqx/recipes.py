"""The field's losses, each under the name of the project that it reproduces.

Each function returns an ordinary loss of the library, which can be saved, bound and
combined like any other. Arguments have the names and defaults of the original. A recipe
that needs the sample rate takes it as its first argument. Two recipes reproduce no
project: `mrstft`, the recommended setting of `MRSTFTLoss`, and `sound_matching`, the
recommended loss for matching sounds of unknown pitch.
"""

from ._recipes._apnet2 import apnet2 as apnet2
from ._recipes._apnet2 import freev as freev
from ._recipes._asteroid import asteroid as asteroid
from ._recipes._audiocraft import (
    audiocraft_loudness_ratio as audiocraft_loudness_ratio,
)
from ._recipes._audiocraft import audiocraft_mrstft as audiocraft_mrstft
from ._recipes._audiocraft import encodec_mel as encodec_mel
from ._recipes._audiotools import audiotools_mel as audiotools_mel
from ._recipes._audiotools import audiotools_stft as audiotools_stft
from ._recipes._audiotools import dac_mel as dac_mel
from ._recipes._auraloss import auraloss_mel as auraloss_mel
from ._recipes._auraloss import auraloss_mrstft as auraloss_mrstft
from ._recipes._auraloss import auraloss_stft as auraloss_stft
from ._recipes._auraloss import auraloss_sum_difference as auraloss_sum_difference
from ._recipes._auraloss_random import auraloss_random as auraloss_random
from ._recipes._bigvgan import bigvgan as bigvgan
from ._recipes._cel import cel as cel
from ._recipes._ddsp import ddsp as ddsp
from ._recipes._enhancement import deepfilternet as deepfilternet
from ._recipes._enhancement import gtcrn as gtcrn
from ._recipes._flamo import flamo_edc as flamo_edc
from ._recipes._flamo import flamo_edr as flamo_edr
from ._recipes._flamo import flamo_mss as flamo_mss
from ._recipes._l1_snr import l1snr_db as l1snr_db
from ._recipes._l1_snr import l1snr_db_multi as l1snr_db_multi
from ._recipes._l1_snr import l1snr_db_stft as l1snr_db_stft
from ._recipes._log_wmse import log_wmse as log_wmse
from ._recipes._mb_melgan import mb_melgan as mb_melgan
from ._recipes._mp_senet import mp_senet as mp_senet
from ._recipes._mrstft import mrstft as mrstft
from ._recipes._nemo import nemo_codec as nemo_codec
from ._recipes._parallel_wavegan import denoiser as denoiser
from ._recipes._parallel_wavegan import hifigan_mel as hifigan_mel
from ._recipes._parallel_wavegan import parallel_wavegan as parallel_wavegan
from ._recipes._parallel_wavegan import parallel_wavegan_mel as parallel_wavegan_mel
from ._recipes._pmsqe import pmsqe as pmsqe
from ._recipes._rave import rave as rave
from ._recipes._smooth import smooth_auraloss as smooth_auraloss
from ._recipes._smooth import smooth_paper as smooth_paper
from ._recipes._smooth import smooth_scrapl as smooth_scrapl
from ._recipes._sot import sot as sot
from ._recipes._sot import sot_multiresolution as sot_multiresolution
from ._recipes._sot import sot_paper as sot_paper
from ._recipes._sound_matching import sound_matching as sound_matching
from ._recipes._stable_audio import stable_audio as stable_audio
from ._recipes._vocos import vocos as vocos
