"""What a training step over texts costs with each adversary: seconds, and times the twin's, side by side in one run.

    python benchmarks/text_cost.py --trainable 2 --length 64 --batch 32 [--smoke]

Real MiniLM weights, random token states; every adversary plays the same number of steps, in turns, and the median over
rounds counts. `free` plays every batch twice, so its steps are counted as it makes them: half on clean rows, half on
moved ones. Adds a line to benchmarks/results/text_cost.jsonl.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

from gan_rec.data.samples import EncodedTexts
from gan_rec.experiments import players
from gan_rec.experiments.environment import environment
from gan_rec.experiments.settings import Settings
from gan_rec.language import load_encoder
from gan_rec.train.epoch import epoch, init

RESULTS = Path(__file__).parent / "results" / "text_cost.jsonl"
CASES = {
    "twin": {"alpha": 1.0}, "free": {"adversary": "free"}, "fgm": {"adversary": "fgm"}, "vat": {"adversary": "vat"},
    "pgd-3": {"adversary": "pgd", "attack_steps": 3},
}  # fmt: skip


def program(encoder, options, steps: int, case: dict):
    """A function that plays `steps` steps and returns its seconds."""
    settings = Settings(
        game="text", recommender="tuned-text-classifier", trainable=options.trainable, batch_size=options.batch, **case
    ).resolved()
    depth, rng, n = encoder.model.stack.depth, np.random.default_rng(0), steps * options.batch
    layers = encoder.model if options.trainable > depth else encoder.model.stack.upper(depth - options.trainable)
    if options.trainable > depth:
        inputs = rng.integers(1000, 20000, (n, options.length)).astype(np.int32)
    else:
        inputs = rng.normal(size=(n, options.length, encoder.dim)).astype(np.float16)
    texts = EncodedTexts(
        inputs, np.full(n, options.length, np.int32), np.zeros((n, 0), np.float32), np.arange(n) % 2, np.ones(n, bool)
    ).on_device()
    game, schedule = players.make_game(settings), players.make_schedule(settings)
    maker = players.make_classifier(settings, encoder.dim, 0, layers)
    adversary = players.make_adversary(replace(settings, dim=encoder.dim), 0, 0)
    keys = jax.random.split(jax.random.key(0), 1)
    state = [init(maker, adversary, schedule, keys, game.alpha)]

    def play() -> float:
        start = time.perf_counter()
        state[0] = jax.block_until_ready(epoch(state[0], texts, game, schedule, keys)[0])
        return time.perf_counter() - start

    play()  # compiles
    return play


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trainable", type=int, default=2)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="one short round, nothing written")
    options = parser.parse_args()
    if options.smoke:
        options.length, options.batch, options.rounds = 8, 2, 1
    encoder, steps = load_encoder("minilm"), 2 if options.smoke else 4
    programs = {name: program(encoder, options, steps, case) for name, case in CASES.items()}
    rounds = [{name: play() / steps for name, play in programs.items()} for _ in range(options.rounds)]
    seconds = {name: float(np.median([each[name] for each in rounds])) for name in CASES}
    times = {name: float(np.median([each[name] / each["twin"] for each in rounds])) for name in CASES}
    for name in CASES:
        print(f"{name:6} {seconds[name]:8.3f} s a step {times[name]:6.2f} x the twin's")
    if options.smoke:
        return
    sizes = {name: getattr(options, name) for name in ("trainable", "length", "batch", "rounds")}
    RESULTS.parent.mkdir(exist_ok=True)
    with open(RESULTS, "a", encoding="utf-8") as file:
        file.write(json.dumps(sizes | {"seconds": seconds, "times": times, "environment": environment({})}) + "\n")


if __name__ == "__main__":
    main()
