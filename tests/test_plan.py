import json
import subprocess
import sys

import pytest

from gan_rec.errors import UserError
from gan_rec.experiments.plan import CHIPS, Chip, Plan, _between_chips, plan
from gan_rec.experiments.settings import Settings


def settings(**options):
    return Settings(
        **{"recommender": "mf", "loss": "bpr", "dim": 16, "batch_size": 64, "seeds": 1} | options
    ).resolved()


@pytest.mark.long
def test_a_step_on_rows_does_not_grow_with_the_tables():
    few, many = (plan(settings(table_updates="lazy-adam"), n, 2 * n) for n in (10_000, 10**9))
    assert few.flops == many.flops and few.moved == many.moved
    assert many.temporary == few.temporary < 2**20
    assert many.tables == 3 * 10**9 * 16 * 4
    assert many.optimizer > 2 * many.tables and many.kept == 6 * many.tables


def test_a_step_on_whole_tables_does():
    few, many = (plan(settings(table_updates="dense", adversary="fgm"), n, n) for n in (10_000, 1_000_000))
    assert many.moved / few.moved > 50
    # Adam reads and writes weights and two moments: at least six times the table.
    assert many.moved > 6 * many.tables


@pytest.mark.long
def test_size_chooses_the_updates():
    assert plan(settings(adversary="fgm"), 1000, 1000).updates == "dense"
    assert plan(settings(adversary="fgm"), 10**6, 1000).updates == "lazy-adam"
    assert plan(settings(adversary="attention"), 10**6, 1000).updates == "dense"  # as in training
    adagrad = plan(settings(adversary="fgm", table_updates="row-adagrad"), 10**6, 10**6)
    assert adagrad.optimizer < adagrad.tables / 10


def test_an_estimate_is_that_of_the_slowest():
    found = Plan(1, "dense", 1, 1, 1, 1, flops=10.0, moved=60.0, sent=4.0, batch_size=8)
    assert found.seconds(Chip(memory=1, flops=1, bandwidth=10, links=1)) == 10
    assert found.seconds(Chip(memory=1, flops=10, bandwidth=10, links=1)) == 6
    assert found.seconds(Chip(memory=1, flops=10, bandwidth=100, links=1)) == 4


def test_what_goes_between_chips_is_counted_from_the_program():
    program = """
      %all-gather = s32[1024]{0} all-gather(%param.20), channel_id=6, dimensions={0}
      %all-reduce.9 = (f32[1,20,64]{2,1,0}, /*index=1*/bf16[8]{0}) all-reduce(%a, %b), channel_id=3
      %dot = f32[512,512]{1,0} dot(%a, %b)
    """
    assert _between_chips(program) == 1024 * 4 + 20 * 64 * 4 + 8 * 2


@pytest.mark.parametrize(
    ("options", "sizes", "message"),
    [
        ({"recommender": "autoencoder", "loss": "softmax"}, (10, 10), "needs recommender 'mf'"),
        ({}, (10, 2**31), "must be 1 to"),
        ({"adversary": "free"}, (10, 10), "adversary 'free'"),
        ({"game": "apr", "adversary": "accumulated"}, (10, 10), "adversary 'accumulated'"),
        ({"table_updates": "lazy-adam", "adversary": "attention"}, (10, 10), "table_updates 'lazy-adam'"),
    ],
)
def test_what_cannot_be_planned_is_told(options, sizes, message):
    with pytest.raises(UserError, match=message):
        plan(settings(**options), *sizes)


@pytest.mark.long
def test_the_command_simulates_the_mesh():
    command = "plan --users 1000000 --items 3000000 --mesh data=2,model=4 --dim 8 --batch-size 64 --adversary fgm"
    run = [sys.executable, "-m", "gan_rec", *command.split(), "--format", "json", "--chips", *CHIPS]
    found = json.loads(subprocess.run(run, capture_output=True, text=True, check=True).stdout)
    assert found["chips"] == 8 and found["tables"] == 10**6 * 8 * 4
    assert found["sent"] > 0 and all(each["fits"] for each in found["estimates"].values())
    wrong = subprocess.run([*run[:4], "--chips", "abacus"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "abacus" in wrong.stderr
