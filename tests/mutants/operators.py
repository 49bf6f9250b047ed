"""Small faults to plant in Python source: one change to one expression or statement inside a function."""

import ast
import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from types import CodeType
from typing import Any

SWAPS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd,
}  # fmt: skip
WRAPPERS = {"min", "max", "clip", "abs", "floor", "ceil", "round", "sqrt", "sorted"}
"""Functions whose call may be replaced by its first argument."""
PURPOSE = re.compile(r"[a-z]+(-[a-z]+)*")
"""What a key or a hash is for, and other short names; other strings are nearly all messages."""
Functions = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Mutant:
    """One fault.

    Args:
        name: what is changed, and where; without line numbers, so that it survives changes elsewhere.
        function: qualified name and first line of the outermost function that is changed, as in a code object.
        codes: the code of the changed module's functions, by the same.
        digest: of the outermost function before the change, without its comments.
    """

    name: str
    function: tuple[str, int]
    codes: dict[tuple[str, int], CodeType]
    digest: str


def mutants_of(source: str, path: str) -> Iterator[Mutant]:
    """Every mutant of a module, in the order of its lines."""
    tree, lines, seen = ast.parse(source), source.splitlines(), Counter[str]()
    whole = functions_of(compile(tree, path, "exec"))
    for function, qualified in _functions(tree, ""):
        digest = hashlib.sha256(ast.unparse(function).encode()).hexdigest()[:16]
        for holder, key, old, new in _changes(function):
            name = f"{qualified} | {lines[old.lineno - 1].strip()} | {_text(old)} -> {_text(new)}"
            seen[name] += 1
            _put(holder, key, ast.fix_missing_locations(ast.copy_location(deepcopy(new), old)))
            codes = functions_of(compile(tree, path, "exec"))
            _put(holder, key, old)
            changed = [where for where, code in codes.items() if code != whole.get(where)]
            if len(changed) == 1 and codes[changed[0]].co_freevars == whole[changed[0]].co_freevars:
                yield Mutant(name + f" #{seen[name]}" * (seen[name] > 1), changed[0], codes, digest)


def noting(source: str, path: str, name: str) -> dict[tuple[str, int], CodeType]:
    """The code of a module's functions, where each outermost one first calls `name` with its qualified name."""
    tree = ast.parse(source)
    for function, qualified in _functions(tree, ""):
        call = ast.Expr(ast.Call(ast.Name(name, ast.Load()), [ast.Constant(qualified)], []))
        function.body.insert(0, ast.fix_missing_locations(ast.copy_location(call, function.body[0])))
    return functions_of(compile(tree, path, "exec"))


def functions_of(code: CodeType) -> dict[tuple[str, int], CodeType]:
    """The code of a module's outermost functions and of its classes' methods."""
    found: dict[tuple[str, int], CodeType] = {}
    for inner in (const for const in code.co_consts if isinstance(const, CodeType)):
        if inner.co_flags & 2:  # a function (CO_NEWLOCALS); a class body is none
            found[inner.co_qualname, inner.co_firstlineno] = inner
        else:
            found |= functions_of(inner)
    return found


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[Functions, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")
        elif isinstance(child, Functions) and child.name != "__repr__":
            yield child, prefix + child.name


def _changes(node: ast.AST) -> Iterator[tuple[ast.AST, Any, Any, Any]]:
    """(node, field or (field, index), what is there, what may be there instead), outermost first."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "args") and not isinstance(node, ast.Call):
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.Raise | ast.JoinedStr):
                continue  # what an error says is no behaviour
            if isinstance(node, ast.UnaryOp) and isinstance(child, ast.Constant):
                continue  # -1 becomes 1; where it stands for a length, -2 means the same
            if isinstance(node, ast.keyword) and node.arg == "strict":
                continue  # it is left out, which is the same
            where = name if index is None else (name, index)
            condition = name == "test" or (name == "ifs" and isinstance(node, ast.comprehension))
            for new in [*_conditions(node, condition), *_replacements(child)]:
                yield node, where, child, new
            yield from _changes(child)


def _conditions(node: ast.AST, condition: bool) -> list[ast.expr]:
    never_ends = isinstance(node, ast.While)
    return [ast.Constant(value) for value in (False, True)[: 1 if never_ends else 2]] if condition else []


def _replacements(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare():
            for index, operator in enumerate(node.ops):
                ops = [*node.ops[:index], SWAPS[type(operator)](), *node.ops[index + 1 :]]
                yield ast.Compare(node.left, ops, node.comparators)
        case ast.BoolOp():
            for index in range(len(node.values)):
                left = [*node.values[:index], *node.values[index + 1 :]]
                yield left[0] if len(left) == 1 else ast.BoolOp(node.op, left)
        case ast.BinOp() if type(node.op) in SWAPS:
            yield ast.BinOp(node.left, SWAPS[type(node.op)](), node.right)
        case ast.AugAssign() if type(node.op) in SWAPS:
            yield ast.AugAssign(node.target, SWAPS[type(node.op)](), node.value)
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node.operand
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)
        case ast.Constant(value=int()):
            yield ast.Constant(node.value + 1)
        case ast.Constant(value=float()):
            yield ast.Constant(node.value * 1.5 or 1.0)
        case ast.Constant(value=bytes()):
            yield ast.Constant(node.value + b"x")
        case ast.keyword(arg="purpose", value=ast.Constant(value=str(purpose))):
            yield ast.keyword("purpose", ast.Constant(purpose + "x"))
        case ast.Call():
            if getattr(node.func, "attr", getattr(node.func, "id", "")) in WRAPPERS and node.args:
                yield node.args[0]
            for index in range(len(node.keywords)):
                yield ast.Call(node.func, node.args, [*node.keywords[:index], *node.keywords[index + 1 :]])
            for index, argument in enumerate(node.args):
                if isinstance(argument, ast.Constant) and PURPOSE.fullmatch(str(argument.value)):
                    args = [*node.args[:index], ast.Constant(f"{argument.value}x"), *node.args[index + 1 :]]
                    yield ast.Call(node.func, args, node.keywords)
        case ast.Expr(value=ast.Call()) | ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case ast.Break() | ast.Continue():
            yield ast.Pass()


def _put(holder: ast.AST, key: Any, node: ast.AST) -> None:
    if isinstance(key, tuple):
        getattr(holder, key[0])[key[1]] = node
    else:
        setattr(holder, key, node)


def _text(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())
