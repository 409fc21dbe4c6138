"""The differentiable front end against SciPy, and YAMNet against what is known of it."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import soxr
import torch
from scipy.signal import get_window, stft

from tasks.audio_config import AudioConfig
from tasks.datasets.audio import read_clip
from tasks.errors import ModelError
from tasks.models.reference.audio_resnet import audio_resnet
from tasks.models.reference.mel import LogMel, Resampler, mel_bands, spectrogram
from tasks.models.reference.yamnet import SameConv2d, YamnetEmbedding, yamnet, yamnet_tagger

SHARED = Path(__file__).parents[3].parent / "shared"


def noise(n_samples, n_clips=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n_clips, n_samples, generator=generator)


def test_the_spectrogram_is_scipy_s():
    waveform, n_fft, hop = noise(4000), 512, 128
    taper = torch.hann_window(n_fft, dtype=torch.float64)
    found = spectrogram(waveform.double(), taper, n_fft, hop, power=2, centred=True)
    window = get_window("hann", n_fft)
    _, _, wanted = stft(
        waveform[0].double().numpy(),
        window=window,
        nperseg=n_fft,
        noverlap=n_fft - hop,
        boundary="zeros",
        padded=False,
    )
    wanted = np.abs(wanted * window.sum()) ** 2
    np.testing.assert_allclose(found[0].numpy(), wanted, rtol=1e-9, atol=1e-9)


def test_log_mel_is_the_sum_over_triangles_of_a_spectrum_computed_apart():
    rate, n_fft, hop, n_mels = 8000, 256, 128, 12
    front = LogMel(rate, n_fft, n_fft, hop, n_mels, low=100, high=3000, offset=1e-3, centred=False)
    waveform = noise(1000)
    found = front(waveform)[0].numpy()
    frames = np.stack([waveform[0, s : s + n_fft].numpy() for s in range(0, 1000 - n_fft + 1, hop)])
    energy = np.abs(np.fft.rfft(frames * get_window("hann", n_fft))) ** 2
    frequencies = np.fft.rfftfreq(n_fft, 1 / rate)
    to_mel = lambda hertz: 1127 * np.log(1 + hertz / 700)  # noqa: E731
    edges = np.linspace(to_mel(100), to_mel(3000), n_mels + 2)
    for band in range(n_mels):
        weights = np.interp(to_mel(frequencies), edges[band : band + 3], [0, 1, 0])
        wanted = np.log(energy @ weights + 1e-3)
        np.testing.assert_allclose(found[band], wanted, rtol=1e-4, atol=1e-4)


def test_the_bands_cover_what_lies_between_the_edges_once():
    bands = mel_bands(16000, 512, 64, 125, 7500)
    assert bands.shape == (64, 257)
    inside = bands[:, 10:230].sum(0)
    np.testing.assert_allclose(inside, 1, atol=1e-9)


def test_silence_has_a_finite_gradient():
    for power in (1, 2):
        waveform = torch.zeros(1, 2000, requires_grad=True)
        LogMel(8000, 256, 256, 128, 16, power=power)(waveform).sum().backward()
        assert torch.isfinite(waveform.grad).all()


@pytest.mark.parametrize(("rate", "wanted"), [(44100, 22050), (44100, 16000), (8000, 8000)])
def test_resampling_in_the_model_keeps_tones_in_place(rate, wanted):
    generator = np.random.default_rng(1)
    frequencies, phases = (200, 1500, wanted / 2 * 0.8), generator.uniform(0, 6, 3)

    def tones(at_rate):
        times = np.arange(at_rate // 5) / at_rate
        return sum(
            np.sin(2 * np.pi * frequency * times + phase)
            for frequency, phase in zip(frequencies, phases, strict=True)
        )

    signal = torch.tensor(tones(rate)[None], dtype=torch.float32)
    found = Resampler(rate, wanted)(signal)[0].numpy()
    np.testing.assert_allclose(found[300:-300], tones(wanted)[300:-300], atol=2e-3)
    other = soxr.resample(tones(rate), rate, wanted)
    np.testing.assert_allclose(found[300:-300], other[300:-300], atol=2e-3)


def test_what_does_not_fit_the_lower_rate_is_removed():
    times = torch.arange(8820) / 44100
    tone = torch.sin(2 * torch.pi * 12000 * times)[None]
    assert Resampler(44100, 22050)(tone)[0, 100:-100].abs().max() < 1e-3


def test_the_resampler_is_exactly_linear_and_differentiable():
    resampler = Resampler(441, 160).double()
    resampler.kernel = resampler.kernel.double()
    waveform = noise(400).double().requires_grad_()
    assert torch.autograd.gradcheck(resampler, waveform)


@pytest.mark.parametrize("pooling", ["mean", "mean_and_maximum"])
def test_a_sample_s_scores_ignore_its_batch(pooling):
    model = audio_resnet(num_classes=3, widths=(4, 8), sample_rate=22050, pooling=pooling).eval()
    clips = 0.1 * noise(11025, 3)[:, None]
    together, alone = model(clips), model(clips[1:2])
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)
    assert alone.shape == (1, 3)
    assert model(clips[..., :7000]).shape == (3, 3)


@pytest.mark.parametrize(("pooling", "found"), [("mean", 0.125), ("mean_and_maximum", 1.125)])
def test_a_short_sound_does_not_drown_in_the_maximum(pooling, found):
    model = audio_resnet(num_classes=3, widths=(4,), sample_rate=22050, pooling=pooling).eval()
    maps = torch.zeros(1, 4, 5, 8)
    maps[..., 3] = 1.0  # in one of eight steps of time
    model.blocks.register_forward_hook(lambda *_: maps)
    model.head = torch.nn.Identity()
    torch.testing.assert_close(model(noise(11025)[:, None]), torch.full((1, 4), found))


@pytest.mark.parametrize("size", [(96, 64), (7, 6), (5, 9)])
@pytest.mark.parametrize("stride", [1, 2])
def test_same_padding_is_tensorflow_s(size, stride):
    convolution = SameConv2d(1, 1, 3, stride, bias=False)
    torch.nn.init.ones_(convolution.weight)
    found = convolution(torch.ones(1, 1, *size))[0, 0]
    # TensorFlow: ceil(size / stride) outputs; the smaller half of the padding comes first.
    wanted = []
    for length in size:
        n_outputs = -(-length // stride)
        total = max(0, (n_outputs - 1) * stride + 3 - length)
        starts = [index * stride - total // 2 for index in range(n_outputs)]
        wanted.append([sum(0 <= start + k < length for k in range(3)) for start in starts])
    torch.testing.assert_close(found, torch.outer(*(torch.tensor(w).float() for w in wanted)))


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(ModelError, match=r"there are no weights .*nothing\.safetensors"):
        yamnet(str(tmp_path / "nothing.safetensors"))


@pytest.fixture
def roots(monkeypatch):
    for variable, folder in (("WAM_DATA_ROOT", "data"), ("WAM_MODEL_ROOT", "models")):
        root = Path(os.environ.get(variable) or SHARED / folder)
        if not root.is_dir():
            pytest.skip(f"{root} is not there; set {variable}")
        monkeypatch.setenv(variable, str(root))
    return Path(os.environ["WAM_DATA_ROOT"])


@pytest.mark.real_data
def test_yamnet_has_the_patches_and_constants_that_are_known(roots):
    model = yamnet().eval()
    embedding = model.embedding
    assert isinstance(embedding, YamnetEmbedding)
    with torch.no_grad():
        # 80000 samples at 16 kHz are 498 frames and 9 patches.
        assert embedding.patches(torch.zeros(1, 1, 220500)).shape == (1, 9, 1024)
        assert model(0.1 * noise(220500, 2)[:, None]).shape == (2, 10)
    bands = mel_bands(16000, 512, 64, 125, 7500)
    np.testing.assert_allclose(embedding.mel.numpy(), bands, atol=5e-3)
    torch.testing.assert_close(embedding.win, torch.hann_window(400), rtol=0, atol=1e-6)


@pytest.mark.real_data
def test_yamnet_hears_what_the_clips_of_esc10_are(roots):
    # By AudioSet: baby cry, sneeze, rooster, waves and surf, rain.
    wanted = {
        "crying_baby": {19, 20},
        "sneezing": {44},
        "rooster": {93, 94, 95},
        "sea_waves": {282, 286, 287, 288, 289},
        "rain": {283, 284, 285},
    }
    folder = roots / "esc10"
    rows = list(csv.DictReader((folder / "manifest.csv").open()))
    rules = AudioConfig(sample_rate=44100)
    clips = [
        next(row for row in rows if row["name"] == name and row["fold"] == "4") for name in wanted
    ]
    signals = np.stack(
        [read_clip((folder / row["path"]).read_bytes(), rules, (1, 220500)).signal for row in clips]
    )
    with torch.no_grad():
        top = yamnet_tagger().eval()(torch.from_numpy(signals)).topk(8).indices
    for name, found in zip(wanted, top, strict=True):
        assert wanted[name] & set(found.tolist()), name
