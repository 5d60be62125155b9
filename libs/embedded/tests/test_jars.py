import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest
from embedded_harness import Repository
from filelock import FileLock

from cxloop_embedded.errors import CacheBusyError, DownloadError, LockMismatchError
from cxloop_embedded.jars import Jar, JarCache, Lock, read_lock, sha256_of
from cxloop_embedded.ports import choose

CONTENT = {f"part-{number}-1.0.jar": os.urandom(4000 + number) for number in range(5)}


@pytest.fixture
def lock(repository: Repository, tmp_path: Path) -> Lock:
    repository.files.update(CONTENT)
    jars: list[Jar] = []
    for name, content in CONTENT.items():
        path = tmp_path / name
        path.write_bytes(content)
        jars.append(Jar("org.example", name.removesuffix("-1.0.jar"), "1.0", len(content), sha256_of(path)))
    return Lock("1.0", tuple(jars), "0123456789ab")


@pytest.fixture
def cache(lock: Lock, repository: Repository, tmp_path: Path) -> JarCache:
    return JarCache(lock, root=tmp_path / "cache", repository=repository.url)


def jar_requests(repository: Repository) -> dict[str, int]:
    return {name: count for name, count in repository.asked.items() if name.endswith(".jar")}


def contents(cache: JarCache) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in cache.class_path()}


def test_the_first_start_downloads_each_jar_and_the_second_none(
    cache: JarCache, repository: Repository
) -> None:
    assert contents(cache) == CONTENT
    assert contents(cache) == CONTENT
    assert jar_requests(repository) == dict.fromkeys(CONTENT, 1)
    assert not list(cache.root.glob("unfinished-*"))


def test_a_truncated_jar_alone_is_downloaded_again(cache: JarCache, repository: Repository) -> None:
    victim = cache.class_path()[2]
    os.truncate(victim, 100)
    assert contents(cache) == CONTENT
    assert jar_requests(repository) == {**dict.fromkeys(CONTENT, 1), victim.name: 2}


def test_a_jar_changed_at_the_same_size_is_downloaded_again(cache: JarCache, repository: Repository) -> None:
    victim = cache.class_path()[1]
    victim.write_bytes(bytes(len(CONTENT[victim.name])))
    assert contents(cache) == CONTENT
    assert jar_requests(repository)[victim.name] == 2


def test_a_missing_jar_is_downloaded_again(cache: JarCache) -> None:
    cache.class_path()[0].unlink()
    assert contents(cache) == CONTENT


def test_a_jar_that_was_only_touched_is_verified_and_kept(cache: JarCache, repository: Repository) -> None:
    os.utime(cache.class_path()[0], (1, 1))
    assert contents(cache) == CONTENT
    assert set(jar_requests(repository).values()) == {1}


def test_a_download_that_is_not_what_the_lock_names_is_refused_and_not_kept(
    cache: JarCache, repository: Repository
) -> None:
    repository.files["part-3-1.0.jar"] = b"something else"
    with pytest.raises(LockMismatchError, match=r"part-3-1\.0\.jar") as raised:
        cache.class_path()
    assert "CXLOOP_MAVEN_URL" in str(raised.value)
    assert not cache.folder.exists()
    assert not list(cache.root.glob("unfinished-*"))


def test_without_cache_and_network_the_error_names_three_ways_out(lock: Lock, tmp_path: Path) -> None:
    closed = choose(purpose="a port where nobody listens")
    cache = JarCache(lock, root=tmp_path / "cache", repository=f"http://127.0.0.1:{closed}")
    with pytest.raises(DownloadError) as raised:
        cache.class_path()
    text = str(raised.value)
    assert "5 of its jars" in text
    assert "connection refused" in text
    for way in ("Go online once", "CXLOOP_KAFKA_BOOTSTRAP", "docker compose up"):
        assert way in text
    assert not cache.folder.exists()


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # jgo leaves the answer of a 404 open
def test_a_jar_that_the_repository_does_not_have_is_named(cache: JarCache, repository: Repository) -> None:
    del repository.files["part-0-1.0.jar"]
    with pytest.raises(DownloadError, match="does not have them"):
        cache.class_path()
    gc.collect()


def test_what_a_killed_download_left_is_swept_away_and_its_lock_file_is_no_obstacle(cache: JarCache) -> None:
    (cache.root / "unfinished-killed").mkdir(parents=True)
    (cache.root / "kafka.lock").write_text("4711", encoding="utf-8")
    assert contents(cache) == CONTENT
    assert not (cache.root / "unfinished-killed").exists()


def test_a_download_elsewhere_that_never_ends_is_told(
    cache: JarCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxloop_embedded.jars.LOCK_WAIT_S", 0.1)
    cache.root.mkdir(parents=True)
    with FileLock(cache.root / "kafka.lock"), pytest.raises(CacheBusyError, match=r"kafka\.lock"):
        cache.class_path()


def test_two_processes_that_start_at_once_download_once(
    cache: JarCache, lock: Lock, repository: Repository, tmp_path: Path
) -> None:
    script = tmp_path / "fill.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nfrom cxloop_embedded.jars import *\n"
        f"lock = {lock!r}\n"
        f"JarCache(lock, root=Path({str(cache.root)!r}), repository={repository.url!r}).class_path()\n",
        encoding="utf-8",
    )
    started = [subprocess.Popen([sys.executable, str(script)]) for _ in range(2)]  # noqa: S603 our script
    assert [process.wait(30) for process in started] == [0, 0]
    assert jar_requests(repository) == dict.fromkeys(CONTENT, 1)
    assert contents(cache) == CONTENT


def test_the_committed_lock_is_one_version_of_kafka_with_a_binding_for_its_log() -> None:
    lock = read_lock()
    ours = {jar.version for jar in lock.jars if jar.group == "org.apache.kafka"}
    assert ours == {lock.version}
    names = {jar.artifact for jar in lock.jars}
    assert {"kafka_2.13", "kafka-clients", "log4j-slf4j-impl", "log4j-core"} <= names
    assert len(lock.jars) == len(names)
    assert all(len(jar.sha256) == 64 and jar.size > 0 for jar in lock.jars)
