"""What a figure comes to: rows, each with a value for every peer, and what the gateway's must and should be."""

from dataclasses import asdict, dataclass, field


@dataclass
class Row:
    figure: str
    label: str
    unit: str
    must: float | None = None
    goal: float | None = None
    # By peer: a number, or a text that says why there is none.
    values: dict = field(default_factory=dict)
    # By peer: what half of the rounds lie between; or the least and the most, where there are few.
    spread: dict = field(default_factory=dict)
    # By peer: of the best rounds, where the value is the median.
    bests: dict = field(default_factory=dict)
    note: str = ""
    digits: int = 2
    # Whether more is better.
    more: bool = False

    def put(self, peer, value, spread=None, best=None):
        self.values[peer] = value
        if spread is not None:
            self.spread[peer] = tuple(spread)
        if best is not None:
            self.bests[peer] = best

    def put_ratio(self, peer, ratio):
        """What `Lane.over` tells."""
        self.put(peer, ratio["median"], ratio["half"], ratio["best"])

    def verdict(self):
        """How the gateway stands."""
        value = self.values.get("gateway")
        if self.must is None or not isinstance(value, (int, float)):
            return ""
        met = (lambda limit: value >= limit) if self.more else (lambda limit: value <= limit)
        return "goal" if met(self.goal) else "met" if met(self.must) else "missed"

    def told(self):
        return asdict(self) | {"verdict": self.verdict()}
