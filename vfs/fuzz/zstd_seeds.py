#!/usr/bin/env python3
"""Makes the first inputs of the fuzz target qcow2_zstd: frames of 16 KiB of different contents, by zstd(1).

  zstd_seeds.py CORPUS
"""

import os
import random
import subprocess
import sys

SIZE = 16 << 10


def contents(generator):
    words = [generator.randbytes(generator.randrange(2, 9)) for _ in range(60)]
    yield "noise", generator.randbytes(SIZE)
    yield "words", b"".join(generator.choice(words) for _ in range(SIZE))
    yield "zeros", bytes(SIZE)
    yield "skewed", bytes(min(255, int(generator.expovariate(0.1))) for _ in range(SIZE))
    yield "runs", b"".join(bytes([generator.randrange(5)]) * generator.randrange(1, 60) for _ in range(SIZE))
    yield "table", b"".join(number.to_bytes(4, "little") + bytes(4) for number in range(SIZE // 8))


def main():
    corpus = sys.argv[1]
    os.makedirs(corpus, exist_ok=True)
    for name, content in contents(random.Random(1)):
        for level in ["--fast=5", "-1", "-3", "-19"]:
            # Through a pipe, so that no frame says how long it is.
            argv = ["zstd", level, "--no-check", "--quiet", "--stdout"]
            halves = [content[: SIZE // 2], content[SIZE // 2 : SIZE]]
            for suffix, parts in [("", [content[:SIZE]]), ("-twice", halves)]:
                frames = b"".join(subprocess.run(argv, input=part, capture_output=True, check=True).stdout for part in parts)
                with open(os.path.join(corpus, name + level + suffix), "wb") as file:
                    file.write(frames)


if __name__ == "__main__":
    main()
