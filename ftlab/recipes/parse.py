"""Read a recipe from text, check it, and complete it."""

import ast
import difflib
import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ftlab.errors import argument_error
from ftlab.formulas.warmup import WarmupLinear
from ftlab.recipes.catalogue import rules
from ftlab.rule import Rule, Schedule


def parse(text: str, known: Mapping[str, type[Rule]] | None = None) -> Rule:
    """Read a rule from text such as ``Decay(0.9, per='epoch')``; nothing in it is ever evaluated.

    Numbers, strings, tuples, ``None``, ``True``, ``False`` and ``inf`` may stand as arguments. ``known`` names the rules
    that may be meant, those of ftlab if left out.

    Raises:
        ArgumentError: If it is not a known rule with such arguments, or the rule refuses them.

    Example:
        >>> parse("Reinit(0.15)")
        Reinit(scale=0.15, pattern='*')
    """
    known = rules() if known is None else known
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        call = None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        do = "Write it as in 'ClipNorm(1.0)'"
        raise argument_error("parse", "rule", "be a rule's name with its arguments in parentheses", repr(text), do)
    name = call.func.id
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        do = f"Perhaps {near[0]} is meant" if near else f"There are {', '.join(sorted(known))}"
        raise argument_error("parse", "rule", "be one that ftlab has", repr(name), do.rstrip("."))
    try:
        positional = [_literal(one) for one in call.args]
        named = {str(one.arg): _literal(one.value) for one in call.keywords if one.arg}
        if len(named) < len(call.keywords):
            raise ValueError("**")
    except ValueError as error:
        do = "Arguments are numbers, strings, tuples, None, True, False or inf"
        raise argument_error("parse", f"argument of {name}", "be a plain value", repr(text), do) from error
    try:
        inspect.signature(known[name]).bind(*positional, **named)
    except TypeError as error:
        do = f"It is written {name}{inspect.signature(known[name])}".replace(" -> None", "")
        raise argument_error("parse", f"arguments of {name}", "fit the rule", f"{text!r} ({error})", do) from error
    return known[name](*positional, **named)


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Name) and node.id == "inf":
        return math.inf
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _literal(node.operand)
        if isinstance(value, int | float):
            return -value
    if isinstance(node, ast.Tuple):
        return tuple(_literal(one) for one in node.elts)
    if isinstance(node, ast.Constant):
        return node.value
    raise ValueError("not a literal")


def check_recipe(recipe: Any) -> tuple[Rule, ...]:
    """Return a recipe as a tuple of rules, reading those that are text."""
    if isinstance(recipe, str | Rule) or not isinstance(recipe, Sequence):
        raise argument_error("finetune", "recipe", "be a list of rules", repr(recipe), "Write it as [ClipNorm(1.0)]")
    read = tuple(parse(one) if isinstance(one, str) else one for one in recipe)
    for one in read:
        if not isinstance(one, Rule):
            what = f"the class {one.__name__}" if inspect.isclass(one) else repr(one)
            do = "Give it its arguments, as in ClipNorm(1.0)"
            raise argument_error("finetune", "recipe", "hold rules only", what, do)
    return read


def complete(recipe: Sequence[Rule]) -> tuple[Rule, ...]:
    """Add warm-up and linear decay to a recipe without a schedule; add nothing else.

    >>> complete([])
    (WarmupLinear(warmup=0.1),)
    """
    if any(isinstance(rule, Schedule) for rule in recipe):
        return tuple(recipe)
    return (*recipe, WarmupLinear())
