"""What the benchmarks of start-up and of exchanges judge by: seconds on a network, bars kept and missed."""

import time
from types import SimpleNamespace

import pytest

from script.benchmarks import exchange, startup


@pytest.mark.parametrize(("processes", "share"), [(2, 1.0), (8, 1.75)])
def test_a_ring_sends_nearly_twice_the_bytes(processes, share):
    assert exchange.seconds_of(1e9 / 8, processes, gbit=1) == pytest.approx(share)


def test_a_sum_arrives_when_the_network_would_have_carried_it(monkeypatch):
    now = [100.0]
    slept = []
    monkeypatch.setattr(exchange, "time", SimpleNamespace(perf_counter=lambda: now[0], sleep=slept.append))
    group = SimpleNamespace(world=2, begin_sum=lambda tensor: SimpleNamespace(wait=lambda: None))
    network = exchange.Network(group, gbit=1)
    tensor = SimpleNamespace(numel=lambda: 125_000_000 // 4, element_size=lambda: 4)
    for _ in range(2):  # one after the other
        network.begin_sum(tensor).wait()
    assert slept == pytest.approx([1.0, 2.0]) and network.sent == 250_000_000
    idle = exchange.Network(group, gbit=None)
    idle.begin_sum(tensor).wait()
    assert len(slept) == 2 and idle.sent == 125_000_000
    assert time is not exchange.time


def measured(way, waited, losses=1.0):
    return {"way": way, "gbit": 1.0, "bytes": 125_000_000, "seconds": 5.0, "waited": waited, "losses": [losses]}


@pytest.mark.parametrize(
    ("overlap", "losses", "status"), [(0.2, 1.0, 0), (1.2, 1.0, 1), (0.9, 1.0, 1), (0.2, 1.1, 1)]
)  # fmt: skip
def test_a_step_that_waits_too_long_or_learns_otherwise_misses_a_bar(overlap, losses, status):
    alone = measured(exchange.ALONE, 0.0) | {"gbit": None}
    ways = [alone, measured(exchange.AFTER, 0.9), measured(exchange.OVERLAP, overlap, losses)]
    assert exchange.print_waits(ways) == status


def test_pairs_are_judged_by_what_they_add_to_the_import():
    fastest = {startup.TORCH: 1.0, "train.py --help": 0.7, "pair, tiny": 1.6, "pair, vox-256": 2.5}
    assert [kept for _, kept in startup.judged(fastest)] == [False, True, False]
