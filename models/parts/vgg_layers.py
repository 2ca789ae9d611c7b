"""The layers of VGG networks as numbers, without torch: channels of each convolution, and positions of pools."""

VGG19_WIDTHS = (64, 64, "pool", 128, 128, "pool", *(256,) * 4, "pool", *(512,) * 4, "pool", *(512,) * 4, "pool")
VGGFACE_WIDTHS = (64, 64, "pool", 128, 128, "pool", *(256,) * 3, "pool", *(512,) * 3, "pool", *(512,) * 3, "pool")
CAFFE_WIDTHS = {"vgg19": VGG19_WIDTHS, "vggface": VGGFACE_WIDTHS}
CAFFE_MEANS = {"vgg19": (103.939, 116.779, 123.68), "vggface": (93.5940, 104.7624, 129.1863)}
"""The mean that Caffe's networks subtract, in BGR order."""
