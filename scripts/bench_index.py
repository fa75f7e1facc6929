"""A folder of many images: indexing, opening again, and what a worker holds.

python scripts/bench_index.py                    # 100,000 files
python scripts/bench_index.py --files 1000000 --names 10000000
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from _bench import Bench, arguments, at_least, at_most

PER_FOLDER = 1000

#: What a worker does: unpickle the source, look at every thousandth image's name.
WORKER = """
import pickle, sys
from pathlib import Path
def private():  # pages of files, such as the mapped index, are shared by any number of workers
    rows = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(r.split()[1]) for r in rows if r.startswith("Anonymous")) / 1024
from sslight.data.sources.folder import Folder
from sslight.data.sources.filelist import FileList
data = Path(sys.argv[1]).read_bytes()
before = private()
source = pickle.loads(data)
for i in range(0, len(source), 1000):
    source.id(i)
print(private() - before)
"""


def main() -> None:
    """Measure all rows."""
    args = arguments(__doc__, files=100_000, names=1_000_000)
    bench = Bench("index", args)
    with TemporaryDirectory() as scratch:
        os.environ["SSLIGHT_CACHE"] = f"{scratch}/cache"
        folder(bench, Path(scratch))
        names(bench, Path(scratch))


def folder(bench: Bench, scratch: Path) -> None:
    """Index files on disk."""
    from torchvision.datasets import ImageFolder

    from sslight.data.sources.folder import Folder

    count, root = bench.args.files, scratch / "images"
    what = f"{count:,} files on disk"
    if not bench.wants(what):
        return
    make_files(root, count)
    ImageFolder(root)  # the first walk fills the file system's cache, for both

    def opened() -> Folder:
        source = Folder(root)
        source.open()
        return source

    start = time.perf_counter()
    source = opened()
    ours = time.perf_counter() - start
    start = time.perf_counter()
    theirs_made = ImageFolder(root)
    theirs = time.perf_counter() - start
    note = f"{ours:.2f} s against {theirs:.2f}"
    bench.keep(f"{what}: first build", [theirs / ours], at_least(1.0), "ImageFolder", note=note)
    assert len(source) == len(theirs_made) == count
    reopened(bench, what, opened)
    private_memory(bench, what, source, scratch)


def names(bench: Bench, scratch: Path) -> None:
    """Index a list of names, of images that need not exist."""
    from sslight.data.sources.filelist import FileList

    count, file = bench.args.names, scratch / "names.txt"
    what = f"{count:,} names in a list"
    if not bench.wants(what):
        return
    with file.open("w", encoding="utf-8") as out:
        for i in range(count):
            out.write(
                f"train/n{i // PER_FOLDER:08d}/image_{i:010d}.JPEG\t{i // PER_FOLDER % 1000}\n"
            )

    def opened() -> FileList:
        source = FileList(path=file)
        source.open()
        return source

    start = time.perf_counter()
    source = opened()
    bench.keep(f"{what}: first build", [time.perf_counter() - start], None, unit="s")
    assert len(source) == count
    reopened(bench, what, opened)
    private_memory(bench, what, source, scratch)


def make_files(root: Path, count: int) -> None:
    """Make empty files in folders of a thousand."""
    for start in range(0, count, PER_FOLDER):
        folder = root / f"class_{start // PER_FOLDER:05d}"
        folder.mkdir(parents=True)
        for i in range(start, min(start + PER_FOLDER, count)):
            (folder / f"image_{i:08d}.jpg").touch()


def reopened(bench: Bench, what: str, opened: object) -> None:
    """Open what is in the cache, several times."""
    seconds = []
    for _ in range(bench.args.repeats):
        start = time.perf_counter()
        opened()  # type: ignore[operator]
        seconds.append(time.perf_counter() - start)
    bench.keep(f"{what}: opened again", seconds, at_most(1.0, "s"))


def private_memory(bench: Bench, what: str, source: object, scratch: Path) -> None:
    """Start a worker and ask it for the memory that it shares with nobody."""
    import pickle

    file = scratch / "source.pickle"
    file.write_bytes(pickle.dumps(source))
    words = [sys.executable, "-c", WORKER, str(file)]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    bench.keep(f"{what}: private memory of a worker", [float(told)], at_most(50.0, "MB"))


if __name__ == "__main__":
    main()
