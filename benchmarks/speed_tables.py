"""What the benchmarks of speed have measured, as Markdown: by name of the table, from the lines of its file."""

from cells import markdown


def table_size(lines: list[dict]) -> list[str]:
    """A min-max step by the rows of the tables."""
    sizes = sorted({int(n) for line in lines for n in line["milliseconds_a_step"]})

    def cell(line: dict, n: int) -> str:
        if str(n) not in line["milliseconds_a_step"]:
            return ""
        return f"{line['milliseconds_a_step'][str(n)]:.2f} ms ({line['over_the_smallest'][str(n)]:.2f})"

    rows = [[f"`{line['updates']}`", f"`{line['adversary']}`", *(cell(line, n) for n in sizes)] for line in lines]
    return markdown(["updates", "adversary", *(f"{n:,} rows" for n in sizes)], rows)


def peers(lines: list[dict]) -> list[str]:
    """The same epoch, or the same update, by others and here, on one thread."""
    rows = [
        [f"{line['peer']}, an {line.get('of', 'epoch')}", _time_of(line, "theirs"),
         *(f"{_time_of(line, model)} ({_ratio(line['over_theirs'][model])})" for model in ("twin", "adversarial"))]
        for line in lines
    ]  # fmt: skip
    return markdown(["", "theirs", "here, the twin", "here, against the adversary"], rows)


def _time_of(line: dict, program: str) -> str:
    seconds = line["seconds"][program]
    return f"{1000 * seconds:.2f} ms" if line.get("of") == "update" else f"{seconds:.3f} s"


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def top_k(lines: list[dict]) -> list[str]:
    """Exact lists of a large catalogue, beside a product and its maximum."""
    ways = list(lines[0]["seconds_median"])
    rows = [
        [f"{line['users']:,}", f"{line['items']:,}",
         *(f"{line['seconds_median'][way]:.2f} s ({line['over_product_and_maximum'][way]:.2f})" for way in ways)]
        for line in lines
    ]  # fmt: skip
    return markdown(["users", "items", *ways], rows)


def seeds(lines: list[dict]) -> list[str]:
    """An epoch of several seeds over that of one."""
    one = {line["case"]: line["seconds_median"] for line in lines if line["seeds"] == 1}
    rows = [
        [f"`{line['case']}`", str(line["seeds"]),
         *(f"{line['seconds_median'][model] / one[line['case']][model]:.1f}" for model in ("adversarial", "twin"))]
        for line in lines if line["seeds"] > 1
    ]  # fmt: skip
    return markdown(["recommender", "seeds", "times the epoch of one, adversarial", "twin"], rows)


def streaming(lines: list[dict]) -> list[str]:
    """Training from files that are never in memory as a whole, beside the same in memory."""
    rows = [
        [f"{line['case']}, `{line['table-updates']}`", f"{line['interactions']:,}", f"{line['seconds_to_read']:.0f} s",
         f"{line['microseconds_per_interaction']:.2f}", f"{line['peak_gb']:.2f} GB"]
        for line in lines
    ]  # fmt: skip
    return markdown(
        ["interactions", "in train", "until training", "microseconds for each, an epoch", "peak memory"], rows
    )


TABLES = {
    "peers": peers, "table-size": table_size, "top-k": top_k, "seeds": seeds, "streaming": streaming,
}  # fmt: skip
