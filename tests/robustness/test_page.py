"""docs/robustness.md says what the figures say; a failure is written as plainly as a success."""

import json

import page


def test_the_page_is_that_of_the_published_figures():
    text = page.FILE.read_text()
    assert page.render(text) == text, "python tests/robustness/page.py"


def test_faults_and_inputs_are_counted(tmp_path):
    fault = {"kept": "all", "said": "one | line", "exit_code": "3", "struck": 200, "outcomes": {}, "not_as_expected": 1}
    skipped = {**fault, "struck": 0, "outcomes": {"skipped: no tmpfs": 1}, "not_as_expected": 0}
    faults = {"kills": 200, "lost_finished_rows": 0, "differing_records": 2, "not_as_expected": 1,
              "commit": "c9d845536d", "faults": {"SIGKILL": fault, "full disk": skipped}}  # fmt: skip
    (tmp_path / "robustness_faults.json").write_text(json.dumps(faults))
    kind = {"about": "npz archives", "inputs": 1000, "result": 10, "one line": 989, "traceback": 1, "hang": 0}
    total = {key: value for key, value in kind.items() if key != "about"}
    inputs = {"commit": "50dbd8ea", "total": total, "kinds": {"npz": kind}}
    (tmp_path / "robustness_inputs.json").write_text(json.dumps(inputs))
    text = page.render("<!-- faults --><!-- /faults -->\n<!-- inputs --><!-- /inputs -->", tmp_path)
    assert "(commit c9d8455), 200 faults at random moments, 200 of them signals" in text
    assert "2 records that differ" in text
    assert "| SIGKILL | 200, 1 not as expected | all | one \\| line | 3 |" in text and "| skipped: no tmpfs |" in text
    assert "(commit 50dbd8e), 1,000 inputs drawn by hypothesis: 1 traceback, 0 hang." in text
    assert "| npz archives | 1,000 | 10 | 989 | 1 | 0 |" in text
