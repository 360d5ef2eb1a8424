"""Commands that change an image, in turns."""

from guest import say
from measure import Cost, Failed, peak_rss, timed


class Racer:
    """A command with the copy of an image that it works on, and how many turns it takes."""

    def __init__(self, name, copy, argv, runs, memory=peak_rss):
        self.name = name
        self.copy = copy
        self.argv = argv
        self.runs = runs
        self.memory = memory
        self.cost = Cost()
        self.rss = None


def race(part, title, racers, runs, log, table):
    """One run of each for its memory, then the turns, then the table. Who fails is left out."""
    started = []
    for racer in racers:
        racer.copy.put_back()
        try:
            racer.rss = racer.memory(racer.argv, log)
        except Failed as error:
            say(f"left out: {error}")
            continue
        started.append(racer)
    for turn in range(runs):
        for racer in (racer for racer in started if turn < racer.runs):
            racer.copy.put_back()
            racer.cost.add(*timed(racer.argv, log))
        say(f"{part}: turn {turn + 1} of {runs}")
    print(f"\n{title}; milliseconds, MiB\n")
    table(["", "median", "min", "max", "CPU", "memory"], [[racer.name, *racer.cost.row(), f"{racer.rss:.1f}"] for racer in started])
