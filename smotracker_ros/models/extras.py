"""Parts of the installation that not everybody needs: which packages an extra brings, and how one says what is missing.

Modules import such packages where they use them, so that nobody pays for what he does not use.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

EXTRAS = {
    "torch": ("torch", "torchvision", "sam2", "hydra", "iopath", "omegaconf"),
    "yolo": ("ultralytics",),
    "export": ("onnx", "openvino"),
    "open-vocabulary": ("transformers", "huggingface_hub", "tokenizers"),
    "evaluation": ("trackeval", "boxmot", "pandas", "joblib", "matplotlib"),
    "cluster": ("distributed", "dask"),
    "rerun": ("rerun",),
}
"""Modules by the extra of pyproject.toml that brings them."""


class MissingExtraError(RuntimeError):
    """A package that is not installed; the message holds the command that installs it."""


def explain(error: Exception, what: str, extra: str = "") -> str:
    """What to install for a module that is not there, in one line; "" if none of the extras brings it.

    Args:
        error: of the import.
        what: needs the module, as the subject of a sentence.
        extra: that brings all that it needs; "": the one that brings the module.
    """
    module = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    brings = next((name for name, modules in EXTRAS.items() if module in modules), None)
    if brings is None:
        return ""
    return f"{what} needs {module}, which is not installed; pip install 'smotracker_ros[{extra or brings}]'"


@contextlib.contextmanager
def needed_by(what: str, extra: str = "") -> Iterator[None]:
    """Say what to install if an import in the block fails.

    Args:
        what: needs the import, as the subject of a sentence.
        extra: that brings all that it needs; "": the one that brings the missing package.

    Raises:
        MissingExtraError: if a package of an extra is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if text := explain(error, what, extra):
            raise MissingExtraError(text) from error
        raise
