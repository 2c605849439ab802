"""EfficientNet-lite0 as a torch-fidelity feature extractor: ImageNet features that pip installs, no download.

Tan and Le, arXiv:1905.11946; the "lite" variant has ReLU6 and no squeeze-and-excitation. Batch norm is folded into the
convolutions (the same function to about 1e-6) and memory is channels-last: twice as fast as the package's own model.
"""

import torch
import torch.nn.functional as F
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch_fidelity.feature_extractor_base import FeatureExtractorBase


class Lite0(FeatureExtractorBase):
    """uint8 (n, 3, H, W) -> "1280": pooled features (n, 1280), "logits": ImageNet classes (n, 1000); float32.
    `name` is the net's name in its package, `feature_extractor_weights_path` the file of its state dict. Images are
    resized to `side`, at first that of its training images. ValueError for images of another dtype or shape."""

    def __init__(self, name, features_list, feature_extractor_weights_path, **_):
        super().__init__(name, features_list)
        net = EfficientNet.from_name(name)
        # The package's own from_pretrained would unpickle anything, and it prints.
        net.load_state_dict(torch.load(feature_extractor_weights_path, map_location="cpu", weights_only=True))
        self.net = fold_batch_norm(net.eval()).to(memory_format=torch.channels_last)
        self.side = EfficientNet.get_image_size(name)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        x = prepare(images, self.side).contiguous(memory_format=torch.channels_last)
        pooled = self.net.extract_features(x).mean((2, 3))  # (n, 1280)
        outputs = {"1280": pooled, "logits": self.net._fc(pooled)}
        return tuple(outputs[name] for name in self.features_list)

    @staticmethod
    def get_provided_features_list():
        return "1280", "logits"


def prepare(images: Tensor, side: int) -> Tensor:
    """uint8 (n, 3, H, W) -> float32 (n, 3, side, side): bilinear, antialiased when shrinking; normalised."""
    if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] != 3:
        raise ValueError(f"expected uint8 images (n, 3, H, W), got {images.dtype} {tuple(images.shape)}")
    x = images.float()
    if x.shape[-2:] != (side, side):
        shrinks = max(x.shape[-2:]) > side
        x = F.interpolate(x, (side, side), mode="bilinear", align_corners=False, antialias=shrinks)
    return (x / 255 - 0.498) / 0.502


def fold_batch_norm(net: EfficientNet) -> EfficientNet:
    """`net` (evaluation mode), changed in place: each batch norm goes into the convolution before it."""
    pairs = [(net, "_conv_stem", "_bn0"), (net, "_conv_head", "_bn1")]
    for block in net._blocks:
        if hasattr(block, "_expand_conv"):
            pairs.append((block, "_expand_conv", "_bn0"))
        pairs += [(block, "_depthwise_conv", "_bn1"), (block, "_project_conv", "_bn2")]
    for owner, conv_name, norm_name in pairs:
        conv = fuse_conv_bn_eval(getattr(owner, conv_name), getattr(owner, norm_name))
        left, right, top, bottom = getattr(conv.static_padding, "padding", (0, 0, 0, 0))
        if left == right and top == bottom:  # the convolution pads by itself, without a copy
            conv.padding, conv.static_padding = (top, left), nn.Identity()
        setattr(owner, conv_name, conv)
        setattr(owner, norm_name, nn.Identity())
    for module in net.modules():
        if hasattr(module, "_swish"):
            module._swish = nn.ReLU6(inplace=True)
    return net
