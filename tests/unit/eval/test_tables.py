from __future__ import annotations

import json

from sslight.eval import Result
from sslight.eval._tables import Results


def results(name: str, top1: float) -> Results:
    found = Results(name)
    found.append(Result("knn", {"top1": top1}, n=9, intervals={"top1": (top1 - 0.1, top1 + 0.1)}))
    return found


def test_one_subject_prints_its_tables():
    assert "knn: 9 images" in str(results("a", 0.5))


def test_several_are_set_side_by_side(tmp_path):
    mine = results("mine", 0.5)
    mine.others["theirs"] = results("theirs", 0.25)
    mine.others["theirs"].append(Result("linear", {"top1": 1.0}))
    text = str(mine)
    assert "mine" in text
    assert "0.2500 [0.150, 0.350]" in text
    (line,) = [line for line in text.splitlines() if "linear/top1" in line]
    assert [cell.strip() for cell in line.split("│")[1:-1]] == ["linear/top1", "-", "1.0000"]
    mine.save_comparison(tmp_path / "eval" / "comparison.json")
    kept = json.loads((tmp_path / "eval" / "comparison.json").read_text())
    assert kept["theirs"]["metrics"] == {"knn/top1": 0.25, "linear/top1": 1.0}


def test_others_alone_are_compared_too():
    nobody = Results()
    nobody.others = {"a": results("a", 0.1), "b": results("b", 0.2)}
    assert list(nobody.compared) == ["a", "b"]
