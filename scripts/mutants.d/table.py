"""The tables: one of outcomes for a terminal, and one of all mutations for RESILIENCE.md."""

import os

from patches import Wrong

DOCUMENT = "RESILIENCE.md"
BEGIN = "<!-- mutations: scripts/mutants --update writes what follows -->\n"
END = "<!-- /mutations -->\n"


def of(outcomes):
    rows = [("mutation", "what is broken", "time", "outcome")]
    rows += [(one.mutation.name, one.mutation.what, f"{one.seconds:.0f} s", one.said) for one in outcomes]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}\n" for row in rows]
    noticed = sum(one.kind == "noticed" for one in outcomes)
    return "".join(lines) + f"\n{noticed} of {len(outcomes)} mutations were noticed\n"


def markdown(mutations):
    rows = ["| mutation | what is broken | noticed by |\n|---|---|---|\n"]
    for mutation in mutations:
        noticed_by = "<br>".join(f"`{command.text}`" for command in mutation.noticed_by)
        what = mutation.what.replace("|", "\\|")
        rows.append(f"| {mutation.name} | {what} | {noticed_by} |\n")
    return "".join(rows)


def split(root):
    """What RESILIENCE.md has before the table, the table, and what comes after it."""
    with open(os.path.join(root, DOCUMENT), encoding="utf-8") as file:
        before, begin, rest = file.read().partition(BEGIN)
    present, end, after = rest.partition(END)
    if not begin or not end:
        raise Wrong(f"{DOCUMENT} has no place for the table: between {BEGIN.strip()!r} and {END.strip()!r}")
    return before, present.strip("\n") + "\n", after


def update(root, mutations):
    before, _, after = split(root)
    with open(os.path.join(root, DOCUMENT), "w", encoding="utf-8") as file:
        file.write(f"{before}{BEGIN}\n{markdown(mutations)}\n{END}{after}")
    return 0
