"""The sets of cases, by the names that `run` uses."""

# Cases 12 send five kinds of data with the default compression offer. Cases 13 send one kind of data with
# seven different offers. Each sends a thousand messages, with these sizes of messages and fragments.
KINDS = {12: range(1, 6), 13: range(1, 8)}
SIZES = [
    (16, 0), (64, 0), (256, 0), (1024, 0), (4096, 0), (8192, 0), (16384, 0), (32768, 0), (65536, 0), (131072, 0),
    (8192, 256), (16384, 256), (32768, 256), (65536, 256), (131072, 256), (131072, 1024), (131072, 4096), (131072, 32768),
]  # fmt: skip
# With the larger ones the suite itself, not the tested program, takes most of an hour.
SHORT = {(16, 0), (1024, 0), (8192, 0), (8192, 256)}


def compressed(sizes):
    numbers = [number for number, size in enumerate(SIZES, 1) if size in sizes]
    return [f"{group}.{kind}.{number}" for group, kinds in KINDS.items() for kind in kinds for number in numbers]


# The patterns of the cases of a set, and the number of these cases. With fewer results the suite did not
# finish.
SETS = {
    "plain": ([f"{group}.*" for group in range(1, 11)], 301),
    "deflate": (compressed(SIZES), 216),
    "deflate-short": (compressed(SHORT), 48),
}
