"""A Sphinx extension: resolves the short names in docstrings, and adds each script to a page once."""

from pathlib import Path
from pydoc import locate
from typing import Any

MATHJAX = Path(__file__).parent / "mathjax"


def setup(app: Any) -> dict[str, bool]:
    """Register the handlers. Sphinx does not see mathematics in cell outputs, so every page loads MathJax."""
    app.set_html_assets_policy("always")
    app.connect("config-inited", lambda _, config: config.html_static_path.append(str(MATHJAX)))
    app.connect("html-page-context", each_script_once, priority=900)  # after the handlers that add scripts
    app.connect("html-page-context", the_pages_language)
    app.connect("autodoc-process-docstring", results_have_no_name, priority=100)  # before napoleon
    app.connect("missing-reference", found_elsewhere)
    return {"parallel_read_safe": True}


def results_have_no_name(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Keep napoleon from taking text under ``Returns`` for a type and "Nothing." for an error; modifies ``lines``.

    >>> lines = ["Returns:", "    The run: its metrics."]
    >>> results_have_no_name(None, "function", "", None, None, lines)
    >>> lines
    ['Returns:', '    : The run: its metrics.']
    """
    for index, line in enumerate(lines[:-1]):
        if line == "Returns:":
            following = lines[index + 1]
            lines[index + 1] = following.replace(following.strip(), f": {following.strip()}")
        if line == "Raises:" and lines[index + 1].strip() == "Nothing.":
            lines[index : index + 2] = ["", ""]


def each_script_once(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Keep the first of equal scripts: some extensions add theirs twice, named ``None`` and with an empty name."""
    scripts = {(script.filename or "", str(script.attributes)): script for script in reversed(context["script_files"])}
    context["script_files"] = list(reversed(scripts.values()))


def the_pages_language(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Set the language of the Chinese page, so that browsers choose suitable fonts and voices."""
    if pagename == "zh":
        context["language"] = "zh-CN"


def found_elsewhere(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """Resolve a short name to its entry in the book; show a name that exists but has no entry as code."""
    if node.get("refdomain") != "py":
        return None
    target, last = node["reftarget"], node["reftarget"].rpartition(".")[2]
    domain = env.get_domain("py")
    for full in (f"ftlab.{last}", f"ftlab.formulas.{last}.{last}"):
        if full in domain.objects:
            return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], full, node, contnode)
    exists = any(locate(full) is not None for full in (target, f"ftlab.{target}", f"ftlab.formulas.{target}.{target}"))
    return contnode if exists or is_in_same_module(node, last) else None


def is_in_same_module(node: Any, name: str) -> bool:
    """Return whether a name is defined in the module whose docstring mentions it."""
    module = locate(str(node.source).partition("docstring of ")[2].rpartition(".")[0].strip()) if node.source else None
    return hasattr(module, name)
