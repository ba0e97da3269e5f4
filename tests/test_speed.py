"""The comparison of speed: its arithmetic by hand, its arms one update a batch, its turns, its table and its figure."""

import dataclasses
import json
import math
from argparse import Namespace
from types import SimpleNamespace

import pytest
from torch.optim.optimizer import register_optimizer_step_post_hook
from transformers import AutoTokenizer, BertConfig

from benchmarks.job import Job, Pass, padded
from benchmarks.peak import work
from benchmarks.peers import ARMS, run
from benchmarks.record import RESULTS, of_machine
from benchmarks.speed import TOKENS, arguments, by_batch, by_length, by_size, in_turn, not_measured, whole
from benchmarks.speed_table import draw, finding, told, within_rounds


def job(arm="article's loop", batch=2, rows=4, **more):
    return Job(arm, batch, [[2, 5, 3]] * rows, [0, 1] * (rows // 2), **more)


def a_pass(seconds, note=""):
    return Pass([seconds], work=8e9, memory=100.0, device_memory=None, note=note)


def test_the_work_is_that_of_a_hand_count():
    config = SimpleNamespace(num_hidden_layers=2, hidden_size=32, intermediate_size=64)
    matrices = 2 * (4 * 32 * 32 + 2 * 32 * 64)  # query, key, value, output; up and down; in two layers
    attention = 12 * 2 * 32 * (3 * 3 + 5 * 5)
    assert work(config, [3, 5]) == 6 * matrices * (3 + 5) + attention == 812_544


def test_the_weights_of_a_bert_are_twelve_squares_a_layer():
    assert work(BertConfig(), [1]) == 6 * 12 * 12 * 768**2 + 12 * 12 * 768


def test_ratios_are_those_within_a_round():
    assert within_rounds([10.0, 30.0], [1.0, 3.0]) == [10.0, 10.0]


def test_a_table_row_holds_what_was_measured():
    jobs = {("article's loop", 2): job(), ("ftlab fast", 2): job("ftlab fast")}
    passes = {
        key: [a_pass(one) for one in took] for key, took in zip(jobs, [(4.0, 2.0, 4.0), (1.0, 1.0, 0.5)], strict=True)
    }
    slow, fast = told(jobs, passes, peak=16e9)
    assert slow.samples_per_second == [1.0, 1.0, 2.0]
    assert slow.times_article == [1.0, 1.0, 1.0]
    assert slow.times_tuned is None
    assert fast.times_article == [4.0, 2.0, 8.0]
    assert (fast.tokens_per_second, fast.flops, fast.share_of_peak) == (12, 8e9, 0.5)


def test_of_the_tuned_trainer_the_better_number_of_workers_is_told():
    names = ("Trainer tuned, 0 workers", "Trainer tuned, 2 workers", "ftlab fast")
    jobs = {(name, 2): job(name) for name in names}
    passes = {key: [a_pass(took, key[0])] for key, took in zip(jobs, (4.0, 2.0, 1.0), strict=True)}
    tuned, fast = told(jobs, passes, peak=None)
    assert tuned.arm == "Trainer tuned"
    assert tuned.note == "Trainer tuned, 2 workers; 0 workers: 1.0 samples/s"
    assert fast.times_tuned == [2.0, 2.0, 2.0]
    assert fast.times_article is None


@pytest.mark.parametrize("arm", [arm for arm in ARMS if "2 workers" not in arm])  # it forks, which JAX here forbids
def test_every_arm_makes_one_update_a_batch(arm, bert, small, monkeypatch):
    for module in ("job", "peers"):
        monkeypatch.setattr(f"benchmarks.{module}.LONGEST", 64)  # the tiny model has no more positions
    ids = AutoTokenizer.from_pretrained(bert)(list(small["train"]["text"])[:10])["input_ids"]
    updates = []
    hook = register_optimizer_step_post_hook(lambda *_: updates.append(1))
    try:
        done = run(Job(arm, 4, ids, [0, 1] * 5, model=str(bert), warm=1, repeats=2))
    finally:
        hook.remove()
    assert len(updates) == 1 + 2 * math.ceil(10 / 4)
    assert len(done.seconds) == 2
    assert min(done.seconds) > 0
    assert done.memory > 100
    assert done.note


def test_the_articles_rows_are_padded_to_one_length():
    (row,) = padded(Job("", 1, [[2, 5, 3]], [1]))
    assert row["input_ids"] == [2, 5, 3] + [0] * 125
    assert row["attention_mask"] == [1, 1, 1] + [0] * 125
    assert row["labels"] == 1


def test_every_arm_has_its_turn_in_every_round_in_changing_order():
    jobs = {(arm, 32): job(arm) for arm in ARMS}
    orders = [in_turn(jobs, number) for number in range(5)]
    assert all(set(order) == set(jobs) for order in orders)
    assert len({tuple(order) for order in orders}) > 1


def test_arms_get_rows_of_one_draw_and_slow_ones_fewer():
    encoded = ([[2, number, 3] for number in range(7000)], [0] * 7000)
    jobs = by_batch(arguments().parse_args([]), encoded)
    assert {size for _, size in jobs} == {32, 128}
    assert ("article's loop, TF32", 32) not in jobs
    assert len(jobs["article's loop", 32].ids) == 256
    assert len(jobs["ftlab fast", 128].ids) == len(jobs["Trainer tuned, 0 workers", 128].ids) == 6400
    assert jobs["ftlab fast", 32].ids[:256] == jobs["article's loop", 32].ids
    on_gpu = by_batch(Namespace(**vars(arguments().parse_args(["--device", "cuda"]))), encoded)
    assert {len(one.ids) for one in on_gpu.values()} == {6400}


def test_an_update_has_as_many_tokens_at_every_length():
    for (_, length), one in by_length(arguments().parse_args([]), ([], [])).items():
        assert {len(ids) for ids in one.ids} == {length}
        assert one.batch * length == TOKENS
        assert len(one.ids) % one.batch == 0


def test_more_rows_than_there_are_are_drawn_with_replacement():
    jobs = by_size(arguments().parse_args(["--batch", "128"]), ([[2, 3], [2, 5, 3]], [0, 1]))
    for (arm, size), one in jobs.items():
        assert (arm, len(one.ids), len(one.labels), one.batch) == ("ftlab fast", size, size, 128)
        assert all(len(ids) == 2 + label for ids, label in zip(one.ids, one.labels, strict=True))


def test_the_whole_of_it_is_three_epochs_of_every_row():
    jobs = whole(arguments().parse_args(["--batch", "256", "--device", "cuda"]), ([[2, 3]] * 7, [0] * 7))
    assert {arm for arm, _ in jobs} == {"Trainer tuned, 0 workers", "Trainer tuned, 2 workers", "ftlab fast"}
    assert {(len(one.ids), one.repeats, one.batch, one.device) for one in jobs.values()} == {(7, 3, 256, "cuda")}


def test_what_is_not_measured_says_why():
    assert "not installed" in not_measured("minilm", find=lambda _: None)["sentence-transformers CrossEncoder"]
    assert "another job" in not_measured("minilm", find=lambda _: True)["SetFit"]
    assert "not installed" not in not_measured("minilm", find=lambda _: True)["SetFit"]


def test_each_kind_of_machine_has_a_result_of_its_own(monkeypatch):
    names = []
    for there in (True, False):
        monkeypatch.setattr("benchmarks.record.has_bf16", lambda device, there=there: there)
        names += [of_machine("speed"), of_machine("speed", "cuda")]
    assert names == ["speed", "speed-cuda", "speed-fp32", "speed-cuda"]


def test_the_figure_is_drawn_from_the_json_alone(tmp_path):
    names = ("article's loop", "Trainer tuned, 0 workers", "ftlab fast")
    jobs = {(name, size): job(name) for name in names for size in (32, 128)}
    passes = {(name, size): [a_pass({"ftlab fast": 0.1}.get(name, 2.0))] for name, size in jobs}
    rows = [dataclasses.asdict(row) for row in told(jobs, passes, None)]
    peak = {"bf16": None, "fp32": 1e9}
    part = {"model": "minilm", "on": "cpu", "rounds": 1, "rows": rows, "peak of a linear layer, FLOP/s": peak}
    (tmp_path / "speed.json").write_text(json.dumps({"batches": part}))
    draw(tmp_path / "speed.json")
    assert (tmp_path / "speed.png").stat().st_size > 10_000
    assert "batch 32: 20.0 times as many as the article's loop, 20.0 times as many as the tuned" in finding(part)
    assert finding(part).endswith("cpu, without bf16, median of 1 rounds")
    assert "without bf16" not in finding(part | {"peak of a linear layer, FLOP/s": peak | {"bf16": 1e9}})


@pytest.mark.parametrize(("name", "column"), [("speed", 1), ("speed-fp32", 3)])
def test_the_readme_tells_what_was_measured(name, column):
    measured = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["batches"]
    readme = (RESULTS.parents[1] / "README.md").read_text(encoding="utf-8")
    assert f"medians of {measured['rounds']} rounds" in readme
    family = measured["on"].partition(" (")[2].rstrip(")")
    assert family.replace("AMD EPYC, ", "AMD EPYC (") in " ".join(readme.split())
    assert (measured["peak of a linear layer, FLOP/s"]["bf16"] is None) == name.endswith("fp32")
    told = {row["arm"]: row for row in measured["rows"] if row["size"] == 32}
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in readme.splitlines()]
    shown = [row for row in cells if row[0] in told]
    assert len(shown) == 5
    for arm, *numbers in shown:
        samples, times = numbers[column - 1 : column + 1]
        assert float(samples) == round(told[arm]["samples_per_second"][0], 1)
        assert float(times) == round(told[arm]["times_article"][0], 1)


def test_the_readme_tells_what_was_measured_beside_trl():
    measured = json.loads((RESULTS / "sft-fp32.json").read_text(encoding="utf-8"))
    readme = (RESULTS.parents[1] / "README.md").read_text(encoding="utf-8")
    assert f"beside TRL {measured['trl']} and a plain loop" in " ".join(readme.split())
    for arm in ("plain loop", "TRL", "TRL, no padding", "ftlab"):
        told = [measured["arms"][f"{kind}, {arm}"]["response tokens a second"][0] for kind in ("full", "LoRA")]
        assert f"| {arm} | {told[0]:.1f} | {told[1]:.1f} |" in readme
    losses = [measured["arms"][f"full, {arm}"]["losses"] for arm in ("plain loop", "TRL", "TRL, no padding", "ftlab")]
    assert all(one == pytest.approx(losses[0], abs=1e-3) for one in losses)
    assert all(times > 1.5 for times in measured["ftlab as a multiple of"].values())
