"""Keys of two clusters that know nothing of each other."""

from pathlib import Path

from rasterloom.cluster.certificates import make_authority, make_node


def make_two_clusters(folder: Path) -> Path:
    """Write ours/a, ours/b and theirs/a, and return the folder."""
    for name in ("ours", "theirs"):
        make_authority(folder / name)
        make_node(folder / name, "a", hosts=("10.0.0.5",))
    make_node(folder / "ours", "b")
    return folder


def secret_of(folder: Path) -> str:
    """A line of a private key that stands nowhere else."""
    return (folder / "key.pem").read_text().splitlines()[1]
