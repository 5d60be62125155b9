"""Files to texts; what cannot be read is a problem like any other."""

from pathlib import Path

from cxloop_common.configuration.reading import Problem, Source


def read_source(path: Path | str, problems: list[Problem]) -> Source:
    """Read a file; one that cannot be read leaves a problem and an empty text."""
    try:
        return Source(str(path), Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(Problem(str(path), 1, 1, "", f"cannot be read: {error.strerror}"))
    except UnicodeDecodeError:
        problems.append(Problem(str(path), 1, 1, "", "is not UTF-8 text"))
    return Source(str(path), "")
