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
    # By peer: least and most, where rounds differ.
    spread: dict = field(default_factory=dict)
    note: str = ""
    digits: int = 2
    # Whether more is better.
    more: bool = False

    def put(self, peer, value, least=None, most=None):
        self.values[peer] = value
        if least is not None:
            self.spread[peer] = (least, most)

    def verdict(self):
        """How the gateway stands."""
        value = self.values.get("gateway")
        if self.must is None or not isinstance(value, (int, float)):
            return ""
        met = (lambda limit: value >= limit) if self.more else (lambda limit: value <= limit)
        return "goal" if met(self.goal) else "met" if met(self.must) else "missed"

    def told(self):
        return asdict(self) | {"verdict": self.verdict()}
