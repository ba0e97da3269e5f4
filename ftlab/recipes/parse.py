"""Parse rules from text, check recipes, and complete them."""

import ast
import difflib
import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ftlab.errors import argument_error
from ftlab.formulas.warmup import WarmupLinear
from ftlab.recipes.catalogue import rules as all_rules
from ftlab.rule import Rule, Schedule


def parse(text: str, known: Mapping[str, type[Rule]] | None = None) -> Rule:
    """Parse a rule from text such as ``Decay(0.9, per='epoch')``, without evaluating any code.

    Args:
        text: A rule's name with its arguments, which may be numbers, strings, tuples, ``None``, ``True``, ``False`` and
            ``inf``.
        known: The rules that may occur, by name; by default the rules of ftlab.

    Raises:
        ArgumentError: If the text is not a known rule with such arguments, or the rule does not accept their values.

    Example:
        >>> parse("Reinit(0.15)")
        Reinit(scale=0.15, pattern='*')
    """
    known = all_rules() if known is None else known
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
        do = f"Perhaps {near[0]} is meant" if near else f"The rules are {', '.join(sorted(known))}"
        raise argument_error("parse", "rule", "be one that ftlab has", repr(name), do.rstrip("."))
    try:
        positional = [_literal(node) for node in call.args]
        named = {keyword.arg: _literal(keyword.value) for keyword in call.keywords if keyword.arg}
        if len(named) < len(call.keywords):
            raise ValueError("**")
    except ValueError as error:
        do = "Arguments may be numbers, strings, tuples, None, True, False or inf"
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
        return tuple(_literal(element) for element in node.elts)
    if isinstance(node, ast.Constant):
        return node.value
    raise ValueError("not a literal")


def check_recipe(recipe: Any) -> tuple[Rule, ...]:
    """Return a recipe as a tuple of rules, parsing those that are text."""
    if isinstance(recipe, str | Rule) or not isinstance(recipe, Sequence):
        raise argument_error("finetune", "recipe", "be a list of rules", repr(recipe), "Write it as [ClipNorm(1.0)]")
    rules = tuple(parse(rule) if isinstance(rule, str) else rule for rule in recipe)
    for rule in rules:
        if not isinstance(rule, Rule):
            got = f"the class {rule.__name__}" if inspect.isclass(rule) else repr(rule)
            do = "Write a rule with its arguments, as in ClipNorm(1.0)"
            raise argument_error("finetune", "recipe", "hold rules only", got, do)
    return rules


def complete(recipe: Sequence[Rule]) -> tuple[Rule, ...]:
    """Add warm-up and linear decay to a recipe without a schedule; leave other recipes unchanged.

    >>> complete([])
    (WarmupLinear(warmup=0.1),)
    """
    if any(isinstance(rule, Schedule) for rule in recipe):
        return tuple(recipe)
    return (*recipe, WarmupLinear())
