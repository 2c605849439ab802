"""How systems and images are stored on the device of a training."""

import torch
from torch import Tensor

from cqlib.models.base import System
from cqlib.recipe import TrainingConfig
from cqlib.util.errors import UserError


def check_precision(config: TrainingConfig, device: torch.device) -> None:
    """UserError where `config` asks for TF32 and the device computes in fp32 all the same."""
    if config.precision == "tf32" and not (device.type == "cuda" and torch.cuda.is_tf32_supported()):
        raise UserError(
            f"precision tf32 needs an NVIDIA GPU of the Ampere generation or later, and this is {device}: "
            "take fp32, or bf16"
        )


def to_device(system: System, config: TrainingConfig, device: torch.device) -> System:
    """`system` on the device, in the memory layout it is trained and evaluated in."""
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    return system.to(device, memory_format=layout)  # type: ignore[call-overload]  # torch's stubs do not know it


def images_to_device(images: Tensor, device: torch.device) -> Tensor:
    """`images` on the device, or on the host where they would take more than half of a GPU's free memory."""
    if device.type == "cuda" and 2 * images.nbytes > torch.cuda.mem_get_info(device)[0]:
        return images
    return images.to(device)
