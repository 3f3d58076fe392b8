"""The real model, loaded once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_twostage import load_model

if TYPE_CHECKING:
    from napari_twostage.models.model import Model


@pytest.fixture(scope="session")
def model() -> Model:
    """Load the model that ships with the package."""
    return load_model("nuclei")
