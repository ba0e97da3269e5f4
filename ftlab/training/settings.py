"""The arguments of a fine-tuning, checked before anything else happens."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from ftlab.engines.devices import choose_device
from ftlab.engines.engine import choose_engine
from ftlab.errors import argument_error, check_choice, check_int, check_number
from ftlab.rule import Rule
from ftlab.training.optimizers import NAMES


@dataclass(frozen=True)
class Settings:
    """Every argument of :func:`ftlab.finetune` that decides what comes out of it."""

    epochs: int = 3
    lr: float = 5e-5
    batch_size: int = 32
    accumulate: int = 1
    max_length: int = 128
    seed: int | tuple[int, int] = 0
    recipe: tuple[Rule, ...] = ()
    loss: Any = None
    optimizer: Any = "adamw"
    step: Callable[..., Any] | None = None
    engine: str = "auto"
    device: str = "auto"
    save_every: int | None = None

    def __post_init__(self) -> None:
        where = "finetune"
        check_int(where, "epochs", self.epochs, "3 is usual", at_least=1)
        check_number(where, "lr", self.lr, "5e-5 is usual for fine-tuning", above=0)
        check_int(where, "batch_size", self.batch_size, "32 is usual", at_least=1)
        do = "It is the number of micro-batches per update"
        check_int(where, "accumulate", self.accumulate, do, at_least=1)
        check_int(where, "max_length", self.max_length, "128 is usual", at_least=4)
        if self.accumulate > self.batch_size:
            do = "A micro-batch holds at least one row"
            raise argument_error(
                where, "accumulate", f"be at most batch_size, {self.batch_size}", str(self.accumulate), do
            )
        pair = self.seed if isinstance(self.seed, tuple) else (self.seed, self.seed)
        if len(pair) != 2:
            do = "Write seed=0 or seed=(1, 2): of the new head, of the data order"
            raise argument_error(where, "seed", "be one whole number or two", repr(self.seed), do)
        for one in pair:
            check_int(where, "seed", one, "Use 0, 1, 2 ...")
        choose_engine(self.engine, choose_device(self.device))
        if not callable(self.optimizer):
            check_choice(where, "optimizer", self.optimizer, NAMES)
        for name in ("loss", "step"):
            if getattr(self, name) is not None and not callable(getattr(self, name)):
                raise argument_error(
                    where, name, "be a function", repr(getattr(self, name)), "Leave it out for the usual one"
                )
        if self.save_every is not None:
            check_int(where, "save_every", self.save_every, "It counts updates", at_least=1)

    @property
    def head_seed(self) -> int:
        """The seed of what is drawn at the beginning: the new head and the rules' draws."""
        return self.seed[0] if isinstance(self.seed, tuple) else self.seed

    @property
    def order_seed(self) -> int:
        """The seed of the data's order."""
        return self.seed[1] if isinstance(self.seed, tuple) else self.seed

    def to_dict(self) -> dict[str, Any]:
        """Return the arguments as JSON can hold them; functions by their name."""

        def shown(value: Any) -> Any:
            if isinstance(value, tuple):
                return [repr(one) if isinstance(one, Rule) else one for one in value]
            return value if value is None or isinstance(value, int | float | str) else _named(value)

        return {one.name: shown(getattr(self, one.name)) for one in fields(self)}


def _named(value: Any) -> str:
    return str(getattr(value, "__qualname__", None) or repr(value))
