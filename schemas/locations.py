"""Where a store is, as its URL says."""

from pathlib import Path

_SQLITE = "sqlite:///"


def sqlite_path(url: str) -> Path:
    """The file that a store's URL names.

    Raises:
        ValueError: the URL is not `sqlite:///PATH`.
    """
    if not url.startswith(_SQLITE) or len(url) == len(_SQLITE):
        raise ValueError(f"--store {url}: write sqlite:///PATH (sqlite:////PATH if absolute)")
    return Path(url.removeprefix(_SQLITE))
