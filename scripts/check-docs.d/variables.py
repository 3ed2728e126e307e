"""README's table of variables beside what the programs say of themselves: the same names, and the same defaults."""

import re
import subprocess

ENV = re.compile(r"\[env: ([A-Z_]+)(?:=[^\]]*)?\]\s*(?:\[default: ([^\]]+)\])?")
ROW = re.compile(r"^\| (`[A-Z_]+`(?:, `[A-Z_]+`)*) \| (.*?) \|", re.MULTILINE)
NAME = re.compile(r"`([A-Z_]+)`")
# Named in the row of another.
ELSEWHERE = {"DURABILITY_REPLICAS"}


def of_program(program):
    """Each variable that `--help` names, with its default or None."""
    # Without an environment: --help shows values that are set.
    text = subprocess.run([program, "--help"], env={}, capture_output=True, text=True, timeout=20, check=True).stdout
    return {name: default.strip() or None for name, default in ENV.findall(re.sub(r"\s+", " ", text))}


def of_readme(text):
    """Each variable of the table, with the cell that says its default."""
    table = text.split("\n## Variables\n", 1)[-1].split("\n## ", 1)[0]
    return {name: cell for names, cell in ROW.findall(table) for name in NAME.findall(names)}


def compare(readme, programs):
    """What the table says wrongly of these programs, by sentence."""
    table, known = of_readme(readme), {}
    for program in programs:
        for name, default in of_program(program).items():
            known.setdefault(name, set()).add(default)
    for name in sorted(known.keys() - table.keys() - ELSEWHERE):
        yield f"{name} is not in README's table of variables"
    for name in sorted(table.keys() - known.keys() - ELSEWHERE):
        yield f"README's table has {name}, which no program knows"
    for name in sorted(table.keys() & known.keys()):
        for default in known[name] - {None}:
            # Where a URL is long the cell has its host.
            host = re.sub(r"^https://(?:[\w-]+\.)*?([\w-]+\.com)$", r"\1", default)
            if default not in table[name] and host not in table[name]:
                yield f"README's table has {table[name]} for {name}, whose default is {default}"
