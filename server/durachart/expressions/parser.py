"""Tokens to a tree: recursive descent with bounded depth.

Bounds, so that no text can cost more than a moment: :data:`MAX_TEXT` characters, :data:`MAX_NODES`
nodes, :data:`MAX_DEPTH` levels of nesting. A chain of ``&&`` or of ``||`` is one level however long.

Source: the grammar of the CEL specification ("Syntax"), macros expanded while parsing.
"""

from __future__ import annotations

from typing import Final, Never

from durachart.expressions.errors import CompileError, ExpressionTooLarge
from durachart.expressions.lexer import END, Token, tokenize
from durachart.expressions.literals import integer_value, text_value
from durachart.expressions.syntax import (
    Binary,
    Call,
    Conditional,
    Expr,
    Index,
    ListLiteral,
    Literal,
    Logical,
    Macro,
    MapLiteral,
    Name,
    Select,
    Unary,
)

MAX_TEXT: Final = 65_536
MAX_NODES: Final = 10_000
MAX_DEPTH: Final = 64

_KEYWORDS: Final = frozenset({"true", "false", "null", "in"})
_RESERVED: Final = frozenset(
    {
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "namespace",
        "package",
        "return",
        "var",
        "void",
        "while",
    }
)
_PRECEDENCE: Final = {
    "||": 1,
    "&&": 2,
    **dict.fromkeys(("<", "<=", ">", ">=", "==", "!=", "in"), 3),
    **dict.fromkeys(("+", "-"), 4),
    **dict.fromkeys(("*", "/", "%"), 5),
}
_MACROS: Final = {"all": (2,), "exists": (2,), "exists_one": (2,), "filter": (2,), "map": (2, 3)}
_CONSTANTS: Final = {"true": True, "false": False, "null": None}


def parse(text: str) -> Expr:
    """Parse a whole expression.

    Raises:
        CompileError: The text is not an expression; ExpressionTooLarge: it is larger than the bounds above.
    """
    if len(text) > MAX_TEXT:
        raise ExpressionTooLarge(
            f"the expression is {len(text)} characters long; the limit is {MAX_TEXT}",
            text[: MAX_TEXT + 1],
            MAX_TEXT,
            "move the data into the context or the params",
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise CompileError("half of a surrogate pair is not a character", text, error.start) from None
    parser = _Parser(text)
    root = parser.expression()
    if parser.token.kind != END:
        parser.unexpected("an operator or the end")
    return root


class _Parser:
    """One pass over the tokens of one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokenize(text)
        self.next = 0
        self.level = 0  # brackets open around the token at hand
        self.operands = 0  # calls of binary() under way: with level, what bounds Python's own stack
        self.nodes = 0
        self.token = self.tokens[0]

    def advance(self) -> Token:
        token = self.token
        self.next += 1
        self.token = self.tokens[min(self.next, len(self.tokens) - 1)]
        return token

    def at(self, symbol: str) -> bool:
        return self.token.text == symbol and self.token.kind == "symbol"

    def take(self, symbol: str) -> bool:
        if self.at(symbol):
            self.advance()
            return True
        return False

    def expect(self, symbol: str) -> None:
        if not self.take(symbol):
            self.unexpected(f"`{symbol}`")

    def unexpected(self, wanted: str) -> Never:
        token = self.token
        shown = "the end" if token.kind == END else f"`{token.text[:40]}`"
        raise CompileError(f"expected {wanted}, found {shown}", self.text, token.offset)

    def bounded(self, node: Expr) -> Expr:
        """Count a node and refuse the one that crosses a bound."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise ExpressionTooLarge(
                f"the expression has more than {MAX_NODES} parts", self.text, node.offset, "split it"
            )
        if node.depth > MAX_DEPTH:
            self.too_deep(node.offset)
        return node

    def too_deep(self, offset: int) -> Never:
        raise ExpressionTooLarge(
            f"the expression is nested more than {MAX_DEPTH} levels deep", self.text, offset, "split it"
        )

    def expression(self) -> Expr:
        self.level += 1
        if self.level > MAX_DEPTH:
            self.too_deep(self.token.offset)
        node = self.binary(1)
        if self.at("?"):
            offset = self.advance().offset
            then = self.binary(1)
            self.expect(":")
            node = self.bounded(Conditional(offset, node, then, self.expression()))
        self.level -= 1
        return node

    def binary(self, lowest: int) -> Expr:
        """Operators of precedence ``lowest`` and above, all left-associative."""
        self.operands += 1
        if self.operands > 2 * MAX_DEPTH:
            self.too_deep(self.token.offset)
        node = self.unary()
        while True:
            token = self.token
            precedence = _PRECEDENCE.get(token.text, 0)
            if precedence < lowest or token.kind not in ("symbol", "name"):
                self.operands -= 1
                return node
            self.advance()
            right = self.binary(precedence + 1)
            if precedence <= 2:
                node = self.logical(token, node, right)
            else:
                node = self.bounded(Binary(token.offset, token.text, node, right))

    def logical(self, token: Token, left: Expr, right: Expr) -> Expr:
        if isinstance(left, Logical) and left.operator == token.text:
            left.terms.append(right)
            left.depth = max(left.depth, right.depth + 1)
            return self.bounded(left)
        return self.bounded(Logical(token.offset, token.text, [left, right]))

    def unary(self) -> Expr:
        if not (self.at("!") or self.at("-")):
            return self.member()
        operators: list[Token] = []
        symbol = self.token.text
        while self.at(symbol) and not (symbol == "-" and self.negative_number()):
            operators.append(self.advance())
        if symbol == "-" and self.at("!"):
            self.unexpected("a value")
        if symbol == "!" and self.at("-") and not self.negative_number():
            self.unexpected("a value")
        node = self.member()
        for operator in reversed(operators):
            node = self.bounded(Unary(operator.offset, symbol, node))
        return node

    def negative_number(self) -> bool:
        """Whether the minus sign at hand belongs to the number after it."""
        return self.tokens[self.next + 1].kind in ("int", "float")

    def member(self) -> Expr:
        node = self.primary()
        while True:
            if self.at("."):
                self.advance()
                node = self.selected(node)
            elif self.at("["):
                offset = self.advance().offset
                key = self.expression()
                self.expect("]")
                node = self.bounded(Index(offset, node, key))
            elif self.at("{") and isinstance(node, Name | Select):
                raise CompileError(
                    "message literals are not supported",
                    self.text,
                    self.token.offset,
                    'write a map: {"key": value}',
                )
            else:
                return node

    def selected(self, operand: Expr) -> Expr:
        token = self.token
        if token.kind == "quoted":
            self.advance()
            return self.bounded(Select(token.offset, operand, token.text[1:-1]))
        if token.kind != "name" or token.text in _KEYWORDS:
            self.unexpected("a field name")
        self.advance()
        if not self.at("("):
            return self.bounded(Select(token.offset, operand, token.text))
        self.advance()
        arguments = self.sequence(")")
        if token.text in _MACROS:
            return self.macro(token, operand, arguments)
        return self.bounded(Call(token.offset, token.text, operand, arguments))

    def macro(self, token: Token, source: Expr, arguments: list[Expr]) -> Expr:
        if len(arguments) not in _MACROS[token.text]:
            raise CompileError(
                f"{token.text}() wants a variable and an expression",
                self.text,
                token.offset,
                f"as in context.items.{token.text}(item, item.amount > 0)",
            )
        variable = arguments[0]
        if not isinstance(variable, Name):
            raise CompileError(
                f"the first argument of {token.text}() must be a variable's name", self.text, variable.offset
            )
        predicate: Expr | None = arguments[1]
        transform: Expr | None = None
        if token.text == "map":
            transform = arguments[-1]
            predicate = arguments[1] if len(arguments) == 3 else None
        return self.bounded(Macro(token.offset, token.text, source, variable.name, predicate, transform))

    def sequence(self, closing: str) -> list[Expr]:
        """Expressions separated by commas up to ``closing``; a list may end with a comma."""
        items: list[Expr] = []
        while not self.at(closing):
            items.append(self.expression())
            if not self.take(","):
                break
            if closing == ")" and self.at(closing):
                self.unexpected("a value")
        self.expect(closing)
        return items

    def primary(self) -> Expr:
        token = self.token
        kind = token.kind
        if kind == "name":
            return self.name()
        if kind in ("int", "float") or (self.at("-") and self.negative_number()):
            return self.number()
        if kind == "text":
            self.advance()
            return self.bounded(Literal(token.offset, text_value(token.text, self.text, token.offset)))
        if self.take("("):
            node = self.expression()
            self.expect(")")
            return node
        if self.take("["):
            return self.bounded(ListLiteral(token.offset, self.sequence("]")))
        if self.take("{"):
            return self.map_literal(token.offset)
        if self.at("."):
            self.advance()
            if self.token.kind != "name":
                self.unexpected("a name")
            return self.name()
        return self.unexpected("a value")

    def number(self) -> Expr:
        offset = self.token.offset
        negative = self.take("-")
        token = self.advance()
        if token.kind == "int":
            value: int | float = integer_value(token.text, self.text, offset, negative=negative)
        else:
            value = -float(token.text) if negative else float(token.text)
        return self.bounded(Literal(offset, value))

    def name(self) -> Expr:
        token = self.advance()
        word = token.text
        if word in _CONSTANTS:
            return self.bounded(Literal(token.offset, _CONSTANTS[word]))
        if word in _RESERVED or word == "in":
            raise CompileError(f"`{word}` is a reserved word", self.text, token.offset)
        if not self.at("("):
            return self.bounded(Name(token.offset, word))
        self.advance()
        arguments = self.sequence(")")
        if word == "has":
            return self.presence(token, arguments)
        return self.bounded(Call(token.offset, word, None, arguments))

    def presence(self, token: Token, arguments: list[Expr]) -> Expr:
        if len(arguments) != 1 or not isinstance(arguments[0], Select) or arguments[0].test:
            raise CompileError("has() wants one field, as in has(event.amount)", self.text, token.offset)
        selected = arguments[0]
        return self.bounded(Select(selected.offset, selected.operand, selected.field, test=True))

    def map_literal(self, offset: int) -> Expr:
        entries: list[tuple[Expr, Expr]] = []
        while not self.at("}"):
            key = self.expression()
            self.expect(":")
            entries.append((key, self.expression()))
            if not self.take(","):
                break
        self.expect("}")
        return self.bounded(MapLiteral(offset, entries))
