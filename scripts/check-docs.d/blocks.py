"""Shell blocks of Markdown documents, with what the comments before them say. Everything runs that no comment excuses."""

import re
from dataclasses import dataclass, field

FENCE = re.compile(r"^```(\S*)\s*$")
COMMENT = re.compile(r"^<!--\s*(.*?)\s*-->\s*$")
SHELLS = {"sh", "bash", "shell", "console"}
# How a line of shell begins here, variables before it included. An indented block with such a line is meant to be run.
COMMANDS = re.compile(
    r"^(?:[A-Z_]+=\S* )*(?:cargo|curl|docker|docker-compose|kubectl|helm|kind|redis-server|redis-cli|promtool|openssl|taskset|wrk|nats|git|"
    r"(?:\./)?(?:scripts|\.ci)/\S+|target/release/\S+)(?: |$)"
)
NOT_RUN = re.compile(r"^not run: (?P<reason>.+)$")
SERVICE = re.compile(r"^in a terminal of its own, until (?:(?P<url>http://\S+)|port (?P<port>\d+)) answers$")
NEEDS = re.compile(r"^needs: (?P<program>\S+)$")


class Mistake(Exception):
    """What is wrong with a document, and where."""

    def __init__(self, document, line, what):
        super().__init__(f"{document}:{line}: {what}")


@dataclass
class Block:
    """Lines of shell, and how they are to be run."""

    document: str
    line: int
    text: str
    not_run: str = ""
    service: re.Match = None
    needs: str = ""
    fails: bool = False
    output: str = None

    @property
    def place(self):
        return f"{self.document}:{self.line}"


@dataclass
class CtrlC:
    """Here the reader ends what runs in the other terminals."""

    document: str
    line: int


@dataclass
class Reader:
    """Reads one document from top to bottom. Marks wait for the block they stand before."""

    document: str
    lines: list
    # Only what is run needs marks: of the other documents everything is parsed, and nothing is run.
    strict: bool = True
    steps: list = field(default_factory=list)
    marks: list = field(default_factory=list)

    def read(self):
        at = 0
        while at < len(self.lines):
            line = self.lines[at]
            fence, comment = FENCE.match(line), COMMENT.match(line)
            if fence:
                at = self.fenced(at, fence[1])
            elif comment:
                self.marks.append((at + 1, comment[1]))
                at += 1
            elif line.startswith("    ") and (at == 0 or not self.lines[at - 1].strip() or self.marks):
                at = self.indented(at)
            else:
                if line.strip():
                    self.drop_marks()
                at += 1
        self.drop_marks()
        return self.steps

    def fenced(self, at, language):
        end = next((n for n in range(at + 1, len(self.lines)) if self.lines[n].rstrip() == "```"), None)
        if end is None:
            raise Mistake(self.document, at + 1, "this fence is not closed")
        text = "\n".join(self.lines[at + 1 : end]) + "\n"
        if language in SHELLS:
            self.block(at + 1, text)
        elif any(mark == "output" for _, mark in self.marks):
            self.expected(at + 1, text)
        else:
            self.drop_marks()
        return end + 1

    def indented(self, at):
        end = at
        while end < len(self.lines) and (self.lines[end].startswith("    ") or not self.lines[end].strip()):
            end += 1
        lines = [line[4:] for line in self.lines[at:end]]
        if any(COMMANDS.match(line) for line in lines):
            if self.strict and not any(NOT_RUN.match(mark) for _, mark in self.marks):
                raise Mistake(self.document, at + 1, "this block is indented: what is to be run stands between ```sh and ```")
            self.block(at + 1, "\n".join(lines).rstrip() + "\n")
        else:
            self.drop_marks()
        return end

    def block(self, line, text):
        block = Block(self.document, line, text)
        for at, mark in self.marks:
            if found := NOT_RUN.match(mark):
                block.not_run = found["reason"]
            elif found := SERVICE.match(mark):
                block.service = found
            elif found := NEEDS.match(mark):
                block.needs = found["program"]
            elif mark == "fails":
                block.fails = True
            elif mark == "Ctrl-C":
                self.steps.append(CtrlC(self.document, at))
            else:
                raise Mistake(self.document, at, f'before a block of shell "{mark}" says nothing; scripts/check-docs --help has what does')
        self.marks = []
        self.steps.append(block)

    def expected(self, line, text):
        self.marks = [mark for mark in self.marks if mark[1] != "output"]
        self.drop_marks()
        before = self.steps[-1] if self.steps else None
        if not isinstance(before, Block) or before.output is not None:
            raise Mistake(self.document, line, "an output without the block that has it")
        before.output = text

    def drop_marks(self):
        for at, mark in self.marks:
            if mark == "Ctrl-C":
                self.steps.append(CtrlC(self.document, at))
            elif mark in ("output", "fails") or NOT_RUN.match(mark) or SERVICE.match(mark) or NEEDS.match(mark):
                raise Mistake(self.document, at, f'"{mark}" stands before nothing that it could be about')
        self.marks = []


def read(document, text, strict=True):
    """The blocks and Ctrl-Cs of a document, in their order."""
    return Reader(document, text.splitlines(), strict).read()
