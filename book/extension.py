"""What Sphinx has to be told: where the docstrings' names are documented, and which scripts a page needs, each once."""

from pathlib import Path
from pydoc import locate
from typing import Any

MATHJAX = Path(__file__).parent / "mathjax"


def setup(app: Any) -> dict[str, bool]:
    """Connect all of it to Sphinx. Mathematics that a cell prints is seen too late by it, so each page has MathJax."""
    app.set_html_assets_policy("always")
    app.connect("config-inited", lambda _, config: config.html_static_path.append(str(MATHJAX)))
    app.connect("html-page-context", each_script_once, priority=900)  # after those that add scripts
    app.connect("html-page-context", the_pages_language)
    app.connect("autodoc-process-docstring", results_have_no_name, priority=100)  # before napoleon
    app.connect("missing-reference", found_elsewhere)
    return {"parallel_read_safe": True}


def results_have_no_name(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Keep napoleon from reading a type before a colon under ``Returns``, an error into "Nothing."; changes ``lines``.

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
    """Keep the first of equal scripts: some extensions add theirs with the name ``None``, and again as an empty one."""
    found = {(one.filename or "", str(one.attributes)): one for one in reversed(context["script_files"])}
    context["script_files"] = list(reversed(found.values()))


def the_pages_language(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Name the language that a page is written in, so that browsers choose its fonts and its voice."""
    if pagename == "zh":
        context["language"] = "zh-CN"


def found_elsewhere(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """Lead a short name to where the book has it; show one that it has not as code; say nothing of what does not exist."""
    if node.get("refdomain") != "py":
        return None
    target, last = node["reftarget"], node["reftarget"].rpartition(".")[2]
    domain = env.get_domain("py")
    for full in (f"ftlab.{last}", f"ftlab.formulas.{last}.{last}"):
        if full in domain.objects:
            return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], full, node, contnode)
    exists = any(locate(full) is not None for full in (target, f"ftlab.{target}", f"ftlab.formulas.{target}.{target}"))
    return contnode if exists or what_is_beside(node, last) else None


def what_is_beside(node: Any, name: str) -> bool:
    """Say whether a name stands in the module of the docstring that names it."""
    module = locate(str(node.source).partition("docstring of ")[2].rpartition(".")[0].strip()) if node.source else None
    return hasattr(module, name)
