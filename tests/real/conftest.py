"""Real data that others published lies beside the project, never in it; without it these tests skip and say so."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[3] / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data files."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("../shared/data is not there: real-data tests need the published files beside the checkout")
    return folder


@pytest.fixture(scope="session")
def shared_check() -> Path:
    """The folder of the independent instance maker and plan checker."""
    folder = SHARED / "check"
    if not folder.is_dir():
        pytest.skip("../shared/check is not there: the independent checker lies beside the checkout")
    return folder


@pytest.fixture(scope="session")
def icarus_folder() -> Path:
    """The folder of what Icarus gave."""
    folder = SHARED / "reference" / "icarus"
    if not folder.is_dir():
        pytest.skip("../shared/reference/icarus is not there: what Icarus gave lies beside the checkout")
    return folder
