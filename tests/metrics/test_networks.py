"""Metrics of networks with random weights: equal to the libraries', exact merges, files that do not fit."""

import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from metrics import find_metric
from metrics.evaluation.measuring import Measurement
from metrics.evaluation.running import motion_of
from metrics.fid import Fid
from metrics.kid import Kid
from metrics.metric import Batch, Video
from metrics.parts.embeddings import alignment
from metrics.parts.frechet import Moments, frechet_distance
from metrics.parts.openface import OpenFaceNet
from metrics.parts.perceptual import Lpips, heads_file
from metrics.parts.streams import Stream
from metrics.parts.tools import Tools
from metrics.parts.weights import Weights, read_script
from util.errors import UserError

CHANNELS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Trunks and heads with random weights, in the published forms."""
    import torchvision

    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    for net, build in {"alex": torchvision.models.alexnet, "vgg": torchvision.models.vgg16}.items():
        with torch.device("meta"):  # the classifiers are 90 % of the weights, and nobody needs them
            shapes = {name: value.shape for name, value in build(weights=None).features.state_dict().items()}
        trunk = {f"features.{name}": 0.05 * torch.randn(shape) for name, shape in shapes.items()}
        torch.save(trunk, folder / f"{net}.pth")
        heads = {f"lin{k}.model.1.weight": torch.rand(1, width, 1, 1) for k, width in enumerate(CHANNELS[net])}
        torch.save(heads, folder / f"{net}_heads.pth")
    torch.save(OpenFaceNet().state_dict(), folder / "openface.pth")
    return folder


def pictures(count=2, size=64, seed=0):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("net", CHANNELS)
def test_lpips_matches_its_formula(files, net):
    network = Lpips(net, files / f"{net}.pth", files / f"{net}_heads.pth")
    one, other = pictures(), pictures(seed=1)
    torch.testing.assert_close(network(one, one), torch.zeros(2))
    heads = torch.load(files / f"{net}_heads.pth")
    x, y = ((2 * picture - 1 - network.shift) / network.scale for picture in (one, other))
    expected = torch.zeros(2)
    for index, layer in enumerate(network.features):
        x, y = layer(x), layer(y)
        if index in network.taps:
            k = network.taps.index(index)
            for row in range(2):
                unit_x, unit_y = (a[row] / a[row].norm(dim=0) for a in (x, y))
                weighted = heads[f"lin{k}.model.1.weight"][0] * (unit_x.nan_to_num() - unit_y.nan_to_num()) ** 2
                expected[row] += weighted.sum(0).mean()
    torch.testing.assert_close(network(one, other), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("net", CHANNELS)
def test_lpips_is_that_of_its_authors(files, net):
    lpips = pytest.importorskip("lpips")
    heads = heads_file(net)
    theirs = lpips.LPIPS(net=net, pnet_rand=True, verbose=False).eval()
    trunk = torch.load(files / f"{net}.pth")
    own = {name: trunk[f"features.{name.split('.', 1)[1]}"] for name in theirs.net.state_dict()
           if name.startswith("slice")}  # fmt: skip
    theirs.net.load_state_dict(own)
    ours = Lpips(net, files / f"{net}.pth", heads)
    one, other = pictures(), pictures(seed=1)
    with torch.no_grad():
        expected = theirs(2 * one - 1, 2 * other - 1).flatten()
    torch.testing.assert_close(ours(one, other), expected, rtol=1e-5, atol=1e-7)


def test_a_trunk_of_another_network_is_reported(files):
    with pytest.raises(UserError, match="lpips_trunk.*not torchvision's alexnet"):
        Lpips("alex", files / "vgg.pth", files / "alex_heads.pth")


def test_missing_and_wrong_files_are_reported(files, tmp_path):
    tools = Tools(weights=Weights(tmp_path))
    with pytest.raises(UserError, match="(?s)alexnet-owt-7be5be79.pth.*download.pytorch.org.*--lpips_trunk.*ms_ssim"):
        find_metric("lpips/alex")(tools)
    (tmp_path / "alexnet-owt-7be5be79.pth").write_bytes(b"something else")
    with pytest.raises(UserError, match="not the published file.*7be5be79"):
        find_metric("lpips/alex")(tools)
    with pytest.raises(UserError, match="nowhere.pth: no such file"):
        find_metric("fvd")(Tools(weights=Weights(tmp_path, {"i3d": tmp_path / "nowhere.pth"})))


def sqrtm_distance(one, other):
    """The formula as its authors' script has it."""
    from scipy.linalg import sqrtm

    difference = one.mean(0) - other.mean(0)
    c1, c2 = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    return difference @ difference + np.trace(c1 + c2 - 2 * sqrtm(c1 @ c2).real)


def features(count=300, width=12, seed=0):
    rng = np.random.default_rng(seed)
    return np.abs(rng.normal(size=(count, width)) @ rng.normal(size=(width, width)) * 0.3)


def test_the_frechet_distance_is_that_of_the_matrix_root():
    one, other = features(), features(seed=1)
    moments = [Moments(), Moments()]
    for part, values in zip(moments, (one, other), strict=True):
        part.add(values)
    assert frechet_distance(*moments) == pytest.approx(sqrtm_distance(one, other), abs=1e-4)


class GivenFeatures:
    """A stream that shows features instead of frames."""

    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def find(self, kind):
        return self.values


def gathered(kind, shares):
    """The total after measuring videos, those of one share in one process, merged in the order of the shares."""
    metric = kind(Tools(allow_few=True))
    for share in shares:
        worker = kind(Tools(allow_few=True))
        for name, parts in share:
            worker.begin(Video(name))
            first = 0
            for made, real in parts:
                worker.gather(Batch(GivenFeatures(made), truth=GivenFeatures(real), first=first))
                first += len(made)
        metric.merge(worker.state())
    return metric.total()


@pytest.mark.parametrize("kind", [Fid, Kid])
def test_shards_merge_exactly_in_any_order_and_batching(kind):
    made, real = features(90), features(90, seed=1)
    videos = [(f"v{k}", [(made[30 * k : 30 * k + 30], real[30 * k : 30 * k + 30])]) for k in range(3)]
    whole = gathered(kind, [videos])
    parts = [(name, [(m[:7], r[:7]), (m[7:], r[7:])]) for name, ((m, r),) in videos]
    assert gathered(kind, [parts[2:], [], parts[:2]]) == whole
    assert whole[1] == 90 and np.isfinite(whole[0])


def test_kid_is_the_unbiased_mmd():
    made, real = features(40), features(40, seed=1)
    value, _ = gathered(Kid, [[("a", [(made, real)])]])

    def kernel(x, y):
        return (np.dot(x, y) / 12 + 1) ** 3

    pairs = [(i, j) for i in range(40) for j in range(40) if i != j]
    within = sum(np.mean([kernel(x[i], x[j]) for i, j in pairs]) for x in (made, real))
    between = np.mean([kernel(x, y) for x in made for y in real])
    assert value == pytest.approx(within - 2 * between, rel=1e-5)


def test_too_few_frames_give_no_fid_unless_forced(caplog):
    metric = Fid(Tools())
    metric.gather(Batch(GivenFeatures(features(10)), truth=GivenFeatures(features(10, seed=1))))
    assert np.isnan(metric.total()[0]) and "too few" in caplog.text


def test_features_of_inception_are_those_of_torch_fidelity(tmp_path):
    fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    from unittest import mock

    torch.manual_seed(0)
    weights = tmp_path / "inception.pth"
    # Built without weights once, to have a file of the right entries.
    with mock.patch.object(fidelity, "load_state_dict_from_url", side_effect=StopIteration):
        network = fidelity.FeatureExtractorInceptionV3.__new__(fidelity.FeatureExtractorInceptionV3)
        try:
            fidelity.FeatureExtractorInceptionV3.__init__(network, "inception", ["2048"])
        except StopIteration:
            torch.save(network.state_dict(), weights)
    tools = Tools(weights=Weights(given={"inception": weights}))
    frames = pictures(3, 80)
    ours = Stream(tools).show(frames).find("inception")
    theirs = fidelity.FeatureExtractorInceptionV3("inception", ["2048"], str(weights))
    expected = theirs((frames * 255).round().byte())[0]
    np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-4, atol=1e-6)


class TinyI3d(torch.nn.Module):
    """Answers as the published TorchScript does."""

    def forward(self, x, rescale: bool = False, resize: bool = False, return_features: bool = False):
        assert rescale and resize and return_features
        return x.mean(dim=(2, 3, 4)).repeat(1, 4) / 255


def test_fvd_is_of_whole_clips_however_they_are_cut_into_batches(tmp_path):
    torch.jit.script(TinyI3d()).save(str(tmp_path / "i3d.pt"))
    totals = []
    for cut in (40, 7):
        tools = Tools(weights=Weights(given={"i3d": tmp_path / "i3d.pt"}), allow_few=True)
        measurement = Measurement(["fvd"], ["truth"], tools, controls=False)
        for seed in range(3):
            with measurement.video(Video(str(seed))) as measured:
                for made, real in zip(
                    pictures(40, 8, seed).split(cut), pictures(40, 8, seed + 9).split(cut), strict=True
                ):
                    measured.add(made, truth=real)
        totals.append(measurement.metrics[0].total())
    assert totals[0] == totals[1] and totals[0][1] == 6


def test_aed_of_both_ages_are_their_formulas(files):
    tools = Tools(weights=Weights(given={"openface": files / "openface.pth"}))
    batch = Batch(Stream(tools).show(pictures(3, 80)), truth=Stream(tools).show(pictures(3, 80, 1)))
    squared, mean = (find_metric(f"aed/openface-{kind}")(tools).update(batch) for kind in ("sq", "l1"))
    a, b = (one.find("embedding/openface") for one in (batch.result, batch.truth))
    np.testing.assert_allclose(np.linalg.norm(a, axis=1), 1, atol=1e-4)
    np.testing.assert_allclose(squared["aed/openface-sq"], [((x - y) ** 2).sum() for x, y in zip(a, b, strict=True)])
    np.testing.assert_allclose(mean["aed/openface-l1"], [np.abs(x - y).mean() for x, y in zip(a, b, strict=True)])


def test_openface_has_the_entries_of_its_file():
    names = OpenFaceNet().state_dict()
    published = (
        "layer1.weight layer14.seq_list.0.1_conv.weight layer14.seq_list.2.2_conv.bias layer25.bias "
        "layer16.seq_list.1.5_bn.running_var layer21.seq_list.2.1_conv.weight"
    )
    assert set(published.split()) <= set(names)
    assert names["layer18.seq_list.1.4_conv.weight"].shape == (128, 64, 5, 5)


def test_arcface_takes_a_file_and_sees_aligned_faces(tmp_path):
    from metrics_faces import drawn

    class Flat(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.adaptive_avg_pool2d(x, (16, 11)).flatten(1)[:, :512]

    torch.jit.script(Flat()).save(str(tmp_path / "arcface.pt"))
    tools = Tools(weights=Weights(given={"arcface": tmp_path / "arcface.pt"}))
    frames = torch.from_numpy(drawn(frames=2)[0]).permute(0, 3, 1, 2) / 255
    batch = Batch(Stream(tools).show(frames), truth=Stream(tools).show(torch.roll(frames, 4, 3)))
    # Aligned, a moved face is nearly the same picture.
    assert (find_metric("csim/arcface")(tools).update(batch)["csim/arcface"] > 0.95).all()


def test_alignment_finds_turn_scale_and_shift():
    from util.arcface_template import TEMPLATE

    turn = np.array([[0, -2.0], [2.0, 0]])
    points = np.array(TEMPLATE) @ turn.T + [5, 7]
    matrix = alignment(points)
    np.testing.assert_allclose(points @ matrix[:, :2].T + matrix[:, 2], TEMPLATE, atol=1e-9)


def test_heads_of_another_network_are_reported(files):
    with pytest.raises(UserError, match="alex.pth: not the heads of LPIPS for alex .lacks 'lin0"):
        Lpips("alex", files / "alex.pth", files / "alex.pth")


@pytest.mark.parametrize("kind", [">f4", "<U3", "|S3", "<f2"])
def test_dense_motion_of_any_dtype_is_read_and_other_content_reported(tmp_path, kind):
    grid = np.ones((3, 2, 2, 2), np.float32)
    np.savez(tmp_path / "a.npz", grid=np.full(grid.shape, "x", kind) if kind[1] in "US" else grid.astype(kind))
    pair, plan = SimpleNamespace(name="a"), SimpleNamespace(tables={"motion": tmp_path})
    if kind[1] in "US":
        with pytest.raises(UserError, match="a.npz: needs the array grid"):
            motion_of(pair, plan, 0, 2)
    else:
        assert torch.equal(motion_of(pair, plan, 1, 2), torch.ones(2, 2, 2, 2))


def test_damaged_torchscript_is_reported(tmp_path, monkeypatch):
    path = tmp_path / "a.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(3, 2)), str(path))
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        weight = archive.read(next(name for name in archive.namelist() if name.endswith("data/0")))
    flipped = bytes([weight[0] ^ 1]) + weight[1:]
    path.write_bytes(whole.replace(weight, flipped))
    with pytest.raises(UserError, match="a.pt: cannot be read as TorchScript .*does not match its checksum"):
        read_script(path, torch.device("cpu"))
    monkeypatch.setattr(torch.jit, "load", lambda *arguments, **named: b"\xff".decode())  # as it raises for odd names
    path.write_bytes(whole)
    with pytest.raises(UserError, match="a.pt: cannot be read as TorchScript .*utf-8"):
        read_script(path, torch.device("cpu"))
