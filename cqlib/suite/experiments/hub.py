"""Models on the Hugging Face hub (extra `hub`): a repository there holds the files of a card, or of `model.save`."""

from pathlib import Path

from cqlib.suite.experiments.model_file import RECORD, WEIGHTS
from cqlib.util.errors import UserError, cause_of

HUB = "hf://"
"""How the address of such a model begins: hf://OWNER/NAME, or hf://OWNER/NAME@REVISION."""


def hub_folder(address: str) -> Path:
    """The local copy of the model at `address`, fetched where it is not here or has changed; without a network, the
    copy of the last time. UserError where it cannot be had."""
    repository, _, revision = address.removeprefix(HUB).partition("@")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise UserError(f"{address} needs the extra `hub`: pip install huggingface_hub") from error
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=[WEIGHTS, RECORD]))
    except (OSError, ValueError) as error:
        raise UserError(f"{address} cannot be had: {cause_of(error)}") from error
