"""
The code of a template, with a count put in wherever it could go round.

Jinja's sandbox keeps a template away from Python's insides, and does not end one that loops.
So each body that can be run again (of a loop, a macro, a block, a file) begins with
a call that counts a step and the text in it, and each list that is built is weighed.
"""

from typing import Any

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.visitor import NodeTransformer

# These count for themselves, so that what is around them need not count their text.
_BODIES = (nodes.For, nodes.Macro, nodes.CallBlock, nodes.Block)


class Guard(NodeTransformer):
    """Puts the counting in."""

    def visit_Template(self, node: nodes.Template) -> nodes.Node:  # noqa: N802 - jinja2's naming
        return self._counting(node)

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - Jinja2's name
        if node.test is not None:
            # A loop whose `if` lets nothing through never comes to its body.
            node.test = nodes.And(_step(0), node.test).set_lineno(node.lineno)
        return self._counting(node)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:  # noqa: N802 - Jinja2's name
        return self._counting(node)

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:  # noqa: N802 - Jinja2's name
        return self._counting(node)

    def visit_Block(self, node: nodes.Block) -> nodes.Node:  # noqa: N802 - Jinja2's name
        return node if node.required else self._counting(node)  # a required one must be empty

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - Jinja2's name
        self.generic_visit(node)
        node.nodes = [_call("weighed", child) for child in node.nodes]
        return node

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802 - Jinja2's name
        return self._weighed(node)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802 - Jinja2's name
        return self._weighed(node)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802 - Jinja2's name
        return self._weighed(node) if node.ctx == "load" else self.generic_visit(node)

    def _weighed(self, node: nodes.Expr) -> nodes.Node:
        if all(isinstance(child, nodes.Const) for child in node.iter_child_nodes()):
            return node
        self.generic_visit(node)
        return _call("weighed", node)

    def _counting(self, node: Any) -> nodes.Node:
        self.generic_visit(node)
        step = nodes.ExprStmt(_step(_text_in(node.body)))
        node.body.insert(0, step.set_lineno(node.lineno))
        return node  # type: ignore[no-any-return] # any of the nodes that have a body


def _step(characters: int) -> nodes.Expr:
    """
    A call of our environment's `step`. It is written into the code as it stands: a `nodes.Call`
    would go by way of the sandbox, at four times the cost, once for each turn of a loop.
    """
    return nodes.EnvironmentAttribute(f"step({characters})")


def _call(method: str, argument: nodes.Expr) -> nodes.Call:
    """A call of our environment's method, out of the reach of a template's own names."""
    call = nodes.Call(nodes.EnvironmentAttribute(method), [argument], [], None, None)
    call.set_lineno(argument.lineno or 1)
    return call


def _text_in(body: list[nodes.Node]) -> int:
    text = 0
    for node in body:
        if isinstance(node, nodes.TemplateData):
            text += len(node.data)
        elif isinstance(node, nodes.For):
            text += _text_in(node.else_)
        elif not isinstance(node, _BODIES):
            text += _text_in(list(node.iter_child_nodes()))
    return text


class GuardedCode(CodeGenerator):
    """Compiles what is guarded, and nothing else."""

    def visit_Template(  # noqa: N802 - jinja2's naming
        self, node: nodes.Template, frame: Frame | None = None
    ) -> None:
        for name in node.find_all(nodes.Name):
            # Lists that no one weighs.
            if name.name in ("varargs", "kwargs"):
                self.fail(f"a macro has to name its arguments: no {name.name}", name.lineno)
        super().visit_Template(Guard().visit(node), frame)
