"""ResNet-18 of any width with torchvision's entry names; torchvision's own has a fixed width."""

from copy import copy

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with norms, added to the input or to its projection."""

    def __init__(self, in_features: int, features: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_features, features, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(features)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(features)
        self.downsample = nn.Identity()
        if stride != 1 or in_features != features:
            projection = nn.Conv2d(in_features, features, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(features))

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + self.downsample(x))

    def folded(self) -> nn.Module:
        """The same function in eval mode, with the norms folded into the convolutions."""
        block = copy(self)
        block._modules = dict(self._modules)
        block.conv1, block.bn1 = fuse_conv_bn_eval(self.conv1, self.bn1), nn.Identity()
        block.conv2, block.bn2 = fuse_conv_bn_eval(self.conv2, self.bn2), nn.Identity()
        if not isinstance(self.downsample, nn.Identity):
            block.downsample = fuse_conv_bn_eval(*self.downsample)
        return block


class ResNet18(nn.Module):
    """A vector of `outputs` numbers for a picture of any size."""

    def __init__(self, in_channels: int, outputs: int, width: int = 64):
        """`width`: channels of the first of four stages, each of which doubles them."""
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = nn.Sequential(BasicBlock(width, width, 1), BasicBlock(width, width, 1))
        for stage in (2, 3, 4):
            half, features = width * 2 ** (stage - 2), width * 2 ** (stage - 1)
            self.add_module(
                f"layer{stage}", nn.Sequential(BasicBlock(half, features, 2), BasicBlock(features, features, 1))
            )
        self.fc = nn.Linear(8 * width, outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))

    def folded(self) -> nn.Module:
        """The same function in eval mode, with all norms folded into the convolutions."""
        network = copy(self)
        network._modules = dict(self._modules)
        network.conv1, network.bn1 = fuse_conv_bn_eval(self.conv1, self.bn1), nn.Identity()
        for stage in (1, 2, 3, 4):
            blocks = getattr(self, f"layer{stage}")
            setattr(network, f"layer{stage}", nn.Sequential(*(block.folded() for block in blocks)))
        return network
