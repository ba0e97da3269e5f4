"""Rules and recipes that are refused."""

from ftlab import ClipNorm, Reinit
from tests.bad_inputs.bench import bad_argument

# Recipes

PLAIN = "must be a plain value"
bad_argument("unknown rule", "rule must be one that ftlab has. Got 'ClipNrom'", recipe=["ClipNrom(1.0)"])
bad_argument("rule without arguments", "be a rule's name with its arguments", recipe=["ClipNorm"])
bad_argument("half a rule", "be a rule's name with its arguments", recipe=["ClipNorm(1.0"])
bad_argument("code for a rule", "be a rule's name", recipe=["__import__('os').system('touch PWNED')"])
bad_argument("code in a rule", PLAIN, recipe=["ClipNorm(__import__('os').system('touch PWNED'))"])
bad_argument("sum in a rule", f"argument of ClipNorm {PLAIN}", recipe=["ClipNorm(1 + 1)"])
bad_argument("stars in a rule", PLAIN, recipe=["ClipNorm(**{'max_norm': 1})"])
bad_argument("unknown argument", "arguments of ClipNorm must fit the rule", recipe=["ClipNorm(norm=1.0)"])
bad_argument("missing argument", "arguments of Decay must fit the rule", recipe=["Decay()"])
bad_argument("bad value", "max_norm must be a number greater than 0. Got -1", recipe=["ClipNorm(-1)"])
bad_argument("rule class", "hold rules only. Got the class ClipNorm", recipe=[ClipNorm])
bad_argument("number in a recipe", "hold rules only. Got 3", recipe=[3])
bad_argument("recipe a string", "recipe must be a list of rules. Got 'ClipNorm(1.0)'", recipe="ClipNorm(1.0)")
bad_argument("recipe a rule", "recipe must be a list of rules", recipe=ClipNorm(1.0))
bad_argument("pattern of nothing", "pattern '*.layer.99.*' must match", recipe=[Reinit(0.1, pattern="*.layer.99.*")])
