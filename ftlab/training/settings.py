"""The arguments of a fine-tuning run, checked before any work starts."""

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
    """The arguments of :func:`ftlab.finetune` that determine a run, checked when the object is created.

    Raises:
        ArgumentError: If an argument is invalid.

    Example:
        >>> Settings(seed=(1, 2)).order_seed
        2
    """

    epochs: int = 3
    """Number of passes over the training split, at least 1."""
    lr: float = 5e-5
    """Peak learning rate, greater than 0."""
    batch_size: int = 32
    """Number of rows per update, at least 1."""
    accumulate: int = 1
    """Number of micro-batches per update, from 1 to ``batch_size``."""
    max_length: int = 128
    """Maximum number of tokens per text, at least 4."""
    seed: int | tuple[int, int] = 0
    """One seed, or a pair: for the new head, dropout and the rules; and for the order of the data."""
    recipe: tuple[Rule, ...] = ()
    """The rules, complete with a schedule."""
    loss: Any = None
    """``loss(model, batch)``; None for the usual loss for the kind of task."""
    optimizer: Any = "adamw"
    """The name of an optimizer, or a function from parameter groups to a torch optimizer."""
    step: Callable[..., Any] | None = None
    """``step(state, batch) -> record``; None for :func:`ftlab.step`."""
    engine: str = "auto"
    """The name of an engine, or ``"auto"``."""
    device: str = "auto"
    """``"cuda"``, ``"mps"``, ``"cpu"``, or ``"auto"``."""
    save_every: int | None = None
    """Number of updates between checkpoints; None for no checkpoints."""

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
            do = "Write seed=0, or seed=(1, 2) for the new head and the order of the data"
            raise argument_error(where, "seed", "be one whole number or two", repr(self.seed), do)
        for seed in pair:
            check_int(where, "seed", seed, "Use 0, 1, 2 ...")
        choose_engine(self.engine, choose_device(self.device))
        if not callable(self.optimizer):
            check_choice(where, "optimizer", self.optimizer, NAMES)
        for name in ("loss", "step"):
            if getattr(self, name) is not None and not callable(getattr(self, name)):
                raise argument_error(
                    where, name, "be a function", repr(getattr(self, name)), "Leave it out for the default"
                )
        if self.save_every is not None:
            check_int(
                where, "save_every", self.save_every, "It is the number of updates between checkpoints", at_least=1
            )

    @property
    def head_seed(self) -> int:
        """The seed of the new head, of dropout and of the rules."""
        return self.seed[0] if isinstance(self.seed, tuple) else self.seed

    @property
    def order_seed(self) -> int:
        """The seed of the order of the data."""
        return self.seed[1] if isinstance(self.seed, tuple) else self.seed

    def to_dict(self) -> dict[str, Any]:
        """Return the arguments as values that JSON can hold; rules as text, functions by name."""

        def as_json(value: Any) -> Any:
            if isinstance(value, tuple):
                return [repr(item) if isinstance(item, Rule) else item for item in value]
            return value if value is None or isinstance(value, int | float | str) else _name_of(value)

        return {field.name: as_json(getattr(self, field.name)) for field in fields(self)}


def _name_of(value: Any) -> str:
    return str(getattr(value, "__qualname__", None) or repr(value))
