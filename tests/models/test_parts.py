"""The shared parts of networks and losses against slow loops written from their formulas."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.parts.avd import Disentangler, draw_proportions
from models.parts.blocks import AntiAliasDown, Hourglass, ImagePyramid, ResidualBlock, SameBlock, UpBlock, fold_norms
from models.parts.detector import matrix_head
from models.parts.equivariance import RandomTransform, identity_like, round_trip
from models.parts.keypoints import gaussian_maps, mean_matrices, mean_position, spatial_softmax
from models.parts.losses import PerceptualPyramid
from models.parts.motion import MotionNetwork, motions_around
from models.parts.movement import movement_scale, relative_matrices, relative_points
from models.parts.second_stage import late_milestones
from models.parts.sizes import check_size, multiple_of
from models.parts.vgg import Vgg19, caffe_vgg, vgg19
from models.parts.warps import (
    PlaneTransform,
    affine_grids,
    background_grids,
    coordinate_grid,
    inverse_2x2,
    product_2x2,
    resize,
    warp,
    warp_each,
)
from util.errors import UserError
from util.geometry import hull_area, nearest_pose
from util.resizing import resize as resize_picture
from util.visualisation import colours, draw_points


def bilinear(image: torch.Tensor, x: float, y: float) -> torch.Tensor:
    """One sample (C,) of an image (C, H, W) at a pixel position, zeros outside."""
    total = torch.zeros(image.shape[0], dtype=image.dtype)
    for column in (math.floor(x), math.floor(x) + 1):
        for row in (math.floor(y), math.floor(y) + 1):
            if 0 <= row < image.shape[1] and 0 <= column < image.shape[2]:
                total += (1 - abs(x - column)) * (1 - abs(y - row)) * image[:, row, column]
    return total


@pytest.mark.parametrize("align_corners", [True, False])
def test_warp_samples_bilinearly_with_zeros_outside(align_corners):
    image, grid = torch.rand(2, 3, 5, 7).double(), torch.randn(2, 4, 3, 2).double()
    out = warp(image, grid, align_corners)
    for b in range(2):
        for i in range(4):
            for j in range(3):
                x, y = grid[b, i, j]
                if align_corners:
                    position = (x + 1) / 2 * (7 - 1), (y + 1) / 2 * (5 - 1)
                else:
                    position = ((x + 1) * 7 - 1) / 2, ((y + 1) * 5 - 1) / 2
                torch.testing.assert_close(out[b, :, i, j], bilinear(image[b], *map(float, position)))


def test_the_identity_grid_reproduces_the_picture():
    image = torch.rand(1, 3, 6, 9)
    torch.testing.assert_close(warp(image, coordinate_grid(6, 9, like=image)[None]), image)


def test_one_picture_serves_many_grids():
    image, grids = torch.rand(1, 3, 5, 6), torch.randn(4, 5, 6, 2)
    torch.testing.assert_close(warp(image, grids), warp(image.repeat(4, 1, 1, 1), grids))


def test_a_picture_in_half_precision_is_sampled_where_the_grid_says():
    image = torch.arange(64.0).repeat(1, 1, 4, 1)
    grid = coordinate_grid(4, 64, like=image)[None] + torch.tensor([1 / 63, 0])
    out = warp(image.bfloat16(), grid)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out[..., 1:-1].float(), image[..., 1:-1] + 0.5, rtol=0, atol=0.25)


def test_warp_each_equals_a_loop_over_the_grids():
    image, grids = torch.rand(2, 3, 5, 6), torch.randn(2, 4, 5, 6, 2)
    expected = torch.stack([warp(image, grids[:, k]) for k in range(4)], dim=1)
    torch.testing.assert_close(warp_each(image, grids), expected)


def test_resize_leaves_maps_of_the_right_size_alone():
    maps = torch.rand(1, 2, 4, 6)
    assert resize(maps, (4, 6)) is maps
    expected = F.interpolate(maps, size=(8, 9), mode="bilinear", align_corners=False)
    torch.testing.assert_close(resize(maps, (8, 9)), expected)
    corners = resize(maps, (8, 9), align_corners=True)
    torch.testing.assert_close(corners[..., ::7, ::8], maps[..., ::3, ::5])


def test_affine_grids_are_the_map_at_every_pixel():
    linear, offset = torch.randn(2, 3, 2, 2), torch.randn(2, 3, 2)
    grids, pixels = affine_grids(linear, offset, (4, 5)), coordinate_grid(4, 5, like=offset)
    for b in range(2):
        for k in range(3):
            for i in range(4):
                for j in range(5):
                    expected = linear[b, k] @ pixels[i, j] + offset[b, k]
                    torch.testing.assert_close(grids[b, k, i, j], expected)


def test_products_of_small_matrices():
    a, b = torch.randn(3, 4, 2, 2), torch.randn(3, 4, 2, 2)
    torch.testing.assert_close(product_2x2(a, b), a @ b)
    torch.testing.assert_close(product_2x2(a, b[..., :1]), a @ b[..., :1])


def test_the_inverse_leaves_normal_values_untouched():
    matrices = torch.randn(200, 2, 2, dtype=torch.float64)
    normal = matrices[torch.linalg.det(matrices).abs() > 1e-3]
    torch.testing.assert_close(inverse_2x2(normal), torch.linalg.inv(normal))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_inverse_of_a_singular_matrix_is_bounded_and_has_a_gradient(sign):
    matrix = torch.tensor([[1.0, 2.0], [2.0, 4.0 + sign * 1e-6]], requires_grad=True)
    inverse = inverse_2x2(matrix)
    assert inverse.abs().max() <= 4.1e4
    assert torch.sign(inverse[0, 0]) == sign
    inverse.sum().backward()
    assert torch.isfinite(matrix.grad).all()


def test_gaussian_maps_from_the_formula():
    value = torch.randn(2, 3, 2)
    maps, pixels = gaussian_maps(value, (4, 5), 0.1), coordinate_grid(4, 5, like=value)
    for b in range(2):
        for k in range(3):
            for i in range(4):
                for j in range(5):
                    squared = ((pixels[i, j] - value[b, k]) ** 2).sum()
                    torch.testing.assert_close(maps[b, k, i, j], torch.exp(-0.5 * squared / 0.1))


def test_mean_position_is_the_expected_coordinate():
    heat = spatial_softmax(torch.randn(2, 3, 4, 5), temperature=0.3)
    torch.testing.assert_close(heat.sum((2, 3)), torch.ones(2, 3))
    expected = torch.zeros(2, 3, 2)
    pixels = coordinate_grid(4, 5, like=heat)
    for i in range(4):
        for j in range(5):
            expected += heat[:, :, i, j, None] * pixels[i, j]
    torch.testing.assert_close(mean_position(heat), expected)


def test_the_plane_transform_from_the_formula():
    theta, control, points = torch.randn(2, 2, 3), torch.randn(2, 1, 9), torch.randn(2, 4, 2)
    moved = PlaneTransform(theta, control).points(points)
    centres = [(x, y) for y in (-1.0, 0.0, 1.0) for x in (-1.0, 0.0, 1.0)]
    for b in range(2):
        for p in range(4):
            x, y = points[b, p].tolist()
            spline = 0.0
            for m, (cx, cy) in enumerate(centres):
                r = abs(x - cx) + abs(y - cy)
                spline += control[b, 0, m].item() * r * r * math.log(r + 1e-6)
            expected = theta[b, :, :2] @ points[b, p] + theta[b, :, 2] + spline
            torch.testing.assert_close(moved[b, p], expected)


def test_the_transform_s_jacobian_is_its_derivative_and_differentiable_again():
    theta, control = torch.randn(1, 2, 3).double(), torch.randn(1, 1, 25).double()
    points = torch.randn(1, 3, 2, dtype=torch.float64, requires_grad=True)
    transform = PlaneTransform(theta, control)
    for p in range(3):
        for row in range(2):
            (gradient,) = torch.autograd.grad(transform.points(points)[0, p, row], points)
            torch.testing.assert_close(gradient[0, p], transform.jacobian(points)[0, p, row])
    assert torch.autograd.gradcheck(transform.jacobian, points)


def test_drawn_transforms_differ_between_samples_and_stay_near_the_identity():
    frame = torch.rand(64, 3, 8, 8)
    transform = PlaneTransform.draw(frame, 0.05, 0.005, 5)
    noise = transform.linear - torch.eye(2)
    assert 0.04 < noise.std() < 0.06
    assert 0.004 < transform.control_params.std() < 0.006
    assert PlaneTransform.draw(frame, 0.05, None, None).control_params is None


@pytest.mark.parametrize("scale", [0.5, 0.25, 0.125])
def test_anti_aliasing_is_a_blur_of_which_some_pixels_are_kept(scale):
    image = torch.rand(1, 2, 21, 30)
    down = AntiAliasDown(2, scale)
    sigma, step = (1 / scale - 1) / 2, int(1 / scale)
    radius = round(4 * sigma)
    taps = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    kernel = torch.from_numpy(np.outer(taps, taps) / taps.sum() ** 2).float()
    blurred = F.conv2d(image.transpose(0, 1), kernel[None, None], padding=radius).transpose(0, 1)
    torch.testing.assert_close(down(image), blurred[:, :, ::step, ::step])
    assert down.weight.shape == (2, 1, 2 * radius + 1, 2 * radius + 1)


def test_the_pyramid_names_its_scales_and_keeps_scale_one():
    image = torch.rand(1, 3, 16, 16)
    pyramid = ImagePyramid(["1", "0.5"])(image)
    assert list(pyramid) == ["1", "0.5"]
    assert pyramid["1"] is image
    assert pyramid["0.5"].shape[-1] == 8


def test_the_hourglass_ends_with_its_input():
    hourglass = Hourglass(4, 3, num_blocks=3, max_features=16).eval()
    image = torch.rand(1, 3, 16, 24)
    out = hourglass(image)
    assert out.shape == (1, hourglass.out_features, 16, 24)
    torch.testing.assert_close(out[:, -3:], image)


def test_the_hourglass_gives_features_of_every_size():
    hourglass = Hourglass(4, 3, num_blocks=3, max_features=16).eval()
    image = torch.rand(1, 3, 16, 24)
    every = hourglass.every(image)
    assert [list(maps.shape[1:]) for maps in every] == [[32, 4, 6], [16, 8, 12], [7, 16, 24]]
    assert [maps.shape[1] for maps in every] == hourglass.decoder.widths
    assert torch.equal(every[-1], hourglass(image))


@pytest.mark.parametrize("size", [(4, 6), (16, 24)], ids=["repeated", "transposed"])
def test_the_up_block_repeats_pixels_and_convolves(size):
    block, x = UpBlock(3, 5), torch.randn(2, 3, *size, requires_grad=True)
    expected = F.relu(block.norm(block.conv(F.interpolate(x, scale_factor=2))))
    torch.testing.assert_close(block(x), expected, atol=1e-5, rtol=1e-5)
    weights = torch.randn_like(expected)
    ours = torch.autograd.grad((block(x) * weights).sum(), [x, block.conv.weight])
    theirs = torch.autograd.grad(
        (block.norm(block.conv(F.interpolate(x, scale_factor=2))).relu() * weights).sum(), [x, block.conv.weight]
    )
    for pair in zip(ours, theirs, strict=True):
        torch.testing.assert_close(*pair, atol=1e-4, rtol=1e-4)


def test_warps_keep_the_memory_layout_of_the_picture():
    picture, grid = torch.rand(2, 4, 6, 8), coordinate_grid(5, 7, like=torch.zeros(())).expand(2, -1, -1, -1)
    last = warp(picture.contiguous(memory_format=torch.channels_last), grid)
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert warp(picture, grid).is_contiguous() and torch.equal(warp(picture, grid), last)


def test_folded_norms_change_no_value():
    network = torch.nn.Sequential(SameBlock(3, 4), Hourglass(4, 4, 2, 16), ResidualBlock(8))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight)
            torch.nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    network.eval()
    image = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        expected = network(image)
        fold_norms(network)
        torch.testing.assert_close(network(image), expected, atol=1e-4, rtol=1e-4)
    assert sum(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules()) == 1


class TwoMaps(torch.nn.Module):
    """A feature network small enough to check its loss by hand."""

    def forward(self, x):
        return [2 * x, x.mean(1, keepdim=True)]


def test_the_perceptual_loss_sums_over_scales_and_maps():
    real, generated = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16, requires_grad=True)
    loss = PerceptualPyramid(TwoMaps(), [1, 0.5], [10, 3])
    down = AntiAliasDown(3, 0.5)
    expected = 0.0
    for a, b in ((generated, real), (down(generated), down(real))):
        expected += 10 * (2 * a - 2 * b).abs().mean() + 3 * (a.mean(1) - b.mean(1)).abs().mean()
    total = loss(generated, real)["perceptual"]
    torch.testing.assert_close(total, expected)
    total.backward()
    assert generated.grad.abs().sum() > 0


def test_pictures_too_small_for_vgg_are_refused_with_the_remedy():
    loss = PerceptualPyramid(Vgg19(), [1, 0.25, 0.125], [10] * 5)
    large, small = torch.zeros(1, 3, 128, 128), torch.zeros(1, 3, 64, 64)
    assert loss(large, large)["perceptual"] == 0
    with pytest.raises(UserError, match="--scales 1,0.25,0.125: .* 8 x 8, VGG-19 needs at least 16 x 16; .*--load"):
        loss(small, small)


def test_vgg_taps_are_those_of_torchvision_and_nothing_in_it_is_trained():
    from torchvision.models import vgg19 as torchvision_vgg19

    theirs = torchvision_vgg19(weights=None).features.eval()
    ours = Vgg19()
    ours.load_state_dict(
        {f"features.{k}": v for k, v in theirs.state_dict().items() if f"features.{k}" in ours.state_dict()}
    )
    assert not list(ours.parameters())
    image = torch.rand(1, 3, 32, 32)
    x = (image - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    expected = []
    for index, layer in enumerate(theirs[:30]):
        x = layer(x.clone())
        if index in (1, 6, 11, 20, 29):
            expected.append(x.clone())
    for got, wanted in zip(ours(image), expected, strict=True):
        torch.testing.assert_close(got, wanted)


def test_missing_vgg_weights_are_explained(tmp_path):
    with pytest.raises(UserError, match="--no_perceptual"):
        vgg19(str(tmp_path / "nowhere.pth"))
    torch.save({"other": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"layout: lacks features.0.weight \(26 missing\); has other"):
        vgg19(str(tmp_path / "other.pth"))
    shapes = {name: torch.zeros(value.shape) for name, value in Vgg19().state_dict().items()}
    torch.save(shapes | {"features.0.bias": torch.zeros(3)}, tmp_path / "narrow.pth")
    with pytest.raises(UserError, match=r"(?s)narrow.pth: not weights of VGG-19.*0.bias"):
        vgg19(str(tmp_path / "narrow.pth"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
        (b"PK\x03\x04 the rest is missing", "cut off"),
        (b"", "empty"),
    ],
)
def test_files_without_vgg_weights_are_recognised(tmp_path, content, words):
    path = tmp_path / "vgg19.pth"
    path.write_bytes(content)
    for load in (vgg19, lambda file: caffe_vgg("vggface", file, (24,))):
        with pytest.raises(UserError, match=f"vgg19.pth: .*{words}"):
            load(str(path))


def test_hull_areas():
    square = np.array([[0, 0], [2, 0], [2, 2], [0, 2], [1, 1], [1, 0]], float)
    assert hull_area(square) == pytest.approx(4)
    assert hull_area(np.array([[0, 0], [1, 1], [2, 2]])) == 0
    from scipy.spatial import ConvexHull

    points = np.random.randn(50, 2)
    assert hull_area(points) == pytest.approx(ConvexHull(points).volume)


def test_the_nearest_pose_ignores_place_and_size_and_frames_without_a_face():
    source = np.random.randn(68, 2)
    other = source + 0.3 * np.random.randn(68, 2)
    best, scores = nearest_pose(source, [other, None, 5 * source + 40])
    assert best == 2
    assert scores[1] is None
    assert scores[2] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("size", [(7, 9), (33, 40), (20, 11)])
def test_resizing_is_scikit_image_s(size):
    from skimage.transform import resize as theirs

    picture = np.random.rand(20, 31, 3).astype(np.float32)
    expected = theirs(picture, size, anti_aliasing=True)
    np.testing.assert_allclose(resize_picture(picture, size), expected, atol=2e-6)


def test_points_are_drawn_as_discs():
    picture = draw_points(np.zeros((1, 20, 30, 3), np.float32), np.array([[[0.0, 0.0], [-1.0, -1.0]]]), radius=3)[0]
    assert tuple(picture[10, 15]) == tuple(colours(2)[0])
    assert tuple(picture[0, 0]) == tuple(colours(2)[1])
    assert (picture[10, 15 + 3] == 0).all()
    assert (picture[10, 15 + 2] > 0).any()


# --- movement, backgrounds, motions -----------------------------------------------------------------------------------


def test_the_background_moves_by_homogeneous_coordinates():
    matrix = torch.eye(3).double() + 0.1 * torch.randn(2, 3, 3).double()
    grids = background_grids(matrix, 2, (3, 4), like=matrix)
    plane = coordinate_grid(3, 4, like=matrix)
    for b in range(2):
        for i in range(3):
            for j in range(4):
                moved = matrix[b] @ torch.tensor([*plane[i, j], 1.0], dtype=matrix.dtype)
                torch.testing.assert_close(grids[b, i, j], moved[:2] / moved[2])
    assert torch.equal(background_grids(None, 3, (3, 4), like=matrix), plane.expand(3, -1, -1, -1))


def test_a_background_at_the_horizon_stays_finite():
    matrix = torch.tensor([[[1.0, 0, 0], [0, 1, 0], [1, 0, 0]]], requires_grad=True)
    grids = background_grids(matrix, 1, (3, 5), like=matrix)
    grids.sum().backward()
    assert torch.isfinite(grids).all() and torch.isfinite(matrix.grad).all()


def test_motions_around_points_bring_the_driving_point_to_the_source_s():
    source, driving = torch.rand(1, 3, 2), torch.rand(4, 3, 2)
    linear = torch.randn(4, 3, 2, 2)
    plane = coordinate_grid(5, 6, like=source)
    moved = motions_around(source, driving, linear, (5, 6))
    offsets = plane - driving[:, :, None, None]
    expected = torch.einsum("bkij,bkhwj->bkhwi", linear, offsets) + source[:, :, None, None]
    torch.testing.assert_close(moved, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(motions_around(source, driving, None, (5, 6)), offsets + source[:, :, None, None])


@pytest.mark.parametrize("sees_pictures", [True, False])
def test_the_motion_of_a_pixel_is_the_mean_of_all_by_their_shares(sees_pictures):
    network = MotionNetwork(3, 2, 4, 16, 1, estimate_occlusion_map=True, use_deformed_source=sees_pictures)
    motions = torch.rand(2, 3, 4, 4, 2)
    motion = network.combine(torch.rand(1, 2, 4, 4), torch.rand(2, 3, 1, 4, 4), motions)
    torch.testing.assert_close(motion.mask.sum(1), torch.ones(2, 4, 4))
    expected = sum(motion.mask[:, k, ..., None] * motions[:, k] for k in range(3))
    torch.testing.assert_close(motion.deformation, expected)
    assert motion.occlusion_map.shape == (2, 1, 4, 4)


def test_relative_movement_starts_at_the_source_and_follows_the_driving_points():
    source, driving, initial = torch.rand(3, 1, 5, 2).unbind()
    torch.testing.assert_close(relative_points(source, initial, initial, 1.7), source)
    torch.testing.assert_close(relative_points(source, driving, initial, 2.0) - source, 2 * (driving - initial))
    turn, start = torch.randn(1, 5, 2, 2), torch.eye(2).repeat(1, 5, 1, 1) * 2
    torch.testing.assert_close(relative_matrices(turn, start, start), turn)
    torch.testing.assert_close(relative_matrices(start, turn, start), turn)


def test_the_movement_scale_is_the_ratio_of_the_sizes():
    points = torch.rand(1, 9, 2)
    assert movement_scale(3 * points + 1, points) == pytest.approx(3, rel=1e-4)
    line = torch.linspace(-1, 1, 9)[None, :, None].repeat(1, 1, 2)
    assert movement_scale(line, points) == movement_scale(points, line) == 1


def test_matrices_of_the_transform_itself_come_back_as_the_identity():
    transform = PlaneTransform(
        torch.eye(2, 3).repeat(2, 1, 1) + 0.1 * torch.randn(2, 2, 3), 0.01 * torch.randn(2, 1, 9)
    )
    points, found = torch.rand(2, 4, 2), torch.randn(2, 4, 2, 2)
    driving = product_2x2(transform.jacobian(points), found)
    turned = round_trip(transform, points, found, driving)
    torch.testing.assert_close(turned, identity_like(turned), atol=1e-3, rtol=0)


def test_a_random_transform_moves_the_picture_as_it_moves_points():
    drawing = RandomTransform(sigma_affine=0.05, sigma_tps=0.005, points_tps=5)
    frame = torch.rand(2, 3, 8, 8)
    transform, moved = drawing.moved(frame)
    assert torch.equal(moved, transform.frame(frame))
    assert not torch.equal(moved, frame)


def test_matrix_heads_start_as_the_identity():
    heat = spatial_softmax(torch.randn(2, 3, 4, 4), 0.1)
    for maps in (1, 3):
        matrices = mean_matrices(matrix_head(5, maps, pad=3)(torch.rand(2, 5, 4, 4)), heat)
        torch.testing.assert_close(matrices, torch.eye(2).expand(2, 3, 2, 2))


def test_sizes_of_pictures():
    assert multiple_of((5, 0.25), (2, 1)) == 128
    check_size(torch.zeros(1, 3, 256, 128), 128)
    with pytest.raises(UserError, match="multiples of 128"):
        check_size(torch.zeros(1, 3, 256, 100), 128)


# --- animation via disentanglement ------------------------------------------------------------------------------------


def test_the_disentangler_joins_one_identity_with_many_poses():
    network = Disentangler(12, id_bottle_size=4, pose_bottle_size=6).eval()
    identity, poses = torch.rand(1, 12), torch.rand(5, 12)
    joined = network.joined(identity, poses)
    assert network.decoder[0].in_features == 10
    for index in range(5):
        torch.testing.assert_close(joined[index], network.joined(identity, poses[index : index + 1])[0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network.joined(identity, poses).dtype == torch.float32


def test_proportions_are_drawn_for_every_sample():
    drawn = draw_proportions(torch.zeros(64, 3, 2), 0.25)
    assert drawn.shape == (64, 2)
    assert 0.75 <= drawn.min() < 0.85 and 1.15 < drawn.max() <= 1.25


def test_the_originals_milestones_of_the_second_stage_are_an_epoch_late():
    assert [late_milestones(epoch, [2, 4]) for epoch in range(6)] == pytest.approx([1, 1, 1, 0.1, 0.1, 0.01])
