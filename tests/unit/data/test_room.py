"""How much may still be written: what the disk, the machine and the job's limits say."""

from __future__ import annotations

from pathlib import Path

import pytest

from sslight.data.room import free_in_memory, free_on_disk, in_bytes

GIB = 2**30


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine with 8 GiB available, whose job lies in a group within a group."""
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable: {8 * GIB >> 10} kB")
    (tmp_path / "proc" / "self" / "cgroup").write_text("1:cpu:/x\n0::/slurm/job\n")
    (tmp_path / "groups" / "slurm" / "job").mkdir(parents=True)
    return tmp_path


def limit(group: Path, most: str, used: int, files: int = 0) -> None:
    (group / "memory.max").write_text(most)
    (group / "memory.current").write_text(str(used))
    (group / "memory.stat").write_text(f"anon 5\ninactive_file {files}\n")


def free(machine: Path) -> int:
    return free_in_memory(Path("/"), machine / "proc", machine / "groups")


def test_the_smallest_of_all_limits_holds(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sslight.data.room.free_on_disk", lambda folder: 100 * GIB)
    assert free(machine) == 8 * GIB
    limit(machine / "groups" / "slurm" / "job", "max", 3 * GIB)
    assert free(machine) == 8 * GIB
    limit(machine / "groups" / "slurm", str(6 * GIB), 3 * GIB, files=GIB)
    assert free(machine) == 4 * GIB
    limit(machine / "groups" / "slurm" / "job", str(2 * GIB), 3 * GIB)
    assert free(machine) == 0
    monkeypatch.setattr("sslight.data.room.free_on_disk", lambda folder: -1)
    assert free(machine) == -1


def test_a_system_that_tells_nothing(tmp_path: Path) -> None:
    found = free_in_memory(tmp_path, tmp_path / "none", tmp_path / "none")
    assert found == pytest.approx(free_on_disk(tmp_path), rel=0.1)


def test_in_words() -> None:
    sizes = (0, 999, 1500, 4_608_000, 1.8e9, 2.5e13)
    words = ["0 bytes", "999 bytes", "1.5 kB", "4.61 MB", "1.8 GB", "25 TB"]
    assert [in_bytes(size) for size in sizes] == words
