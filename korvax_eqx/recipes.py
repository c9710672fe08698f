"""The field's losses, each under the name of the project that it reproduces.

Functions that return losses of the library, made of its parts: saved, bound and
combined as others. Arguments have the names and the defaults that they have there. A
sample rate is the first argument of those that need one.
"""

from ._recipes._asteroid import asteroid as asteroid
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
from ._recipes._cel import cel as cel
from ._recipes._ddsp import ddsp as ddsp
from ._recipes._flamo import flamo_mss as flamo_mss
from ._recipes._l1_snr import l1snr_db as l1snr_db
from ._recipes._l1_snr import l1snr_db_multi as l1snr_db_multi
from ._recipes._l1_snr import l1snr_db_stft as l1snr_db_stft
from ._recipes._log_wmse import log_wmse as log_wmse
from ._recipes._mb_melgan import mb_melgan as mb_melgan
from ._recipes._mp_senet import mp_senet as mp_senet
from ._recipes._parallel_wavegan import denoiser as denoiser
from ._recipes._parallel_wavegan import hifigan_mel as hifigan_mel
from ._recipes._parallel_wavegan import parallel_wavegan as parallel_wavegan
from ._recipes._parallel_wavegan import parallel_wavegan_mel as parallel_wavegan_mel
from ._recipes._rave import rave as rave
from ._recipes._smooth import smooth_auraloss as smooth_auraloss
from ._recipes._smooth import smooth_paper as smooth_paper
from ._recipes._smooth import smooth_scrapl as smooth_scrapl
from ._recipes._sot import sot as sot
from ._recipes._sot import sot_multiresolution as sot_multiresolution
from ._recipes._sot import sot_paper as sot_paper
