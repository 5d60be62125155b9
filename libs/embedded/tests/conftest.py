import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from cxloop_embedded import JarCache, read_lock

sys.path.insert(0, str(Path(__file__).parent))  # the tests are no package; `harness` lies beside them

from embedded_harness import Repository


@pytest.fixture
def repository() -> Generator[Repository, None, None]:
    repository = Repository()
    yield repository
    repository.close()


@pytest.fixture(scope="session")
def jars() -> JarCache:
    """The user's own cache, filled once: every real broker of the session runs from it."""
    cache = JarCache(read_lock())
    cache.class_path()
    return cache
