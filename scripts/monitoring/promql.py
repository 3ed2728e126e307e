"""Names of metrics in PromQL, and expressions in boards, rules and Kubernetes objects."""

import json
import re

# What is written like a metric and is none.
WORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right", "bool", "offset", "inf", "nan", "vector"}


def metrics(expression):
    """The metrics that an expression names."""
    text = re.sub(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'', '""', expression)
    text = re.sub(r"\{[^}]*\}", "", text)
    text = re.sub(r"\[[^\]]*\]", "", text)
    text = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", text)
    found = re.finditer(r"(?<![\w:.])([a-zA-Z_:][\w:]*)\s*(\()?", text)
    return {name.group(1) for name in found if not name.group(2) and name.group(1).lower() not in WORDS}


def grouping(expression):
    """Labels that an expression groups by or matches on."""
    found = re.findall(r"\b(?:by|on|group_left|group_right)\s*\(([^)]*)\)", expression)
    return {label.strip() for labels in found for label in labels.split(",") if label.strip()}


def inside(expression, start):
    """What is between the parenthesis that opens at `start`, or later, and the one that closes it."""
    start, depth = expression.index("(", start), 0
    for end in range(start, len(expression)):
        depth += {"(": 1, ")": -1}.get(expression[end], 0)
        if not depth:
            return expression[start + 1:end]
    return expression[start + 1:]


def label_uses(expression):
    """Metrics with labels that the expression takes them to have: selected by, grouped by, or matched on."""
    for name, selector in re.findall(r"([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}", expression):
        for label in re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', selector):
            yield name, label
    plain = re.sub(r"\{[^}]*\}", "", expression)
    for by in re.finditer(r"\bby\s*\(([^)]*)\)", plain):
        for name in metrics(inside(plain, by.end())):
            yield from ((name, label) for label in grouping(by.group(0)))
    for match in re.finditer(r"\b(?:on|group_left|group_right)\s*\(([^)]*)\)", plain):
        for name in metrics(plain):
            yield from ((name, label) for label in grouping(match.group(0)))


def of_board(path):
    """Expressions of a board, each with where it stands; and what is wrong with the board itself."""
    board = json.load(open(path))
    wrong, expressions, ids = [], [], set()
    for field in ("uid", "title", "description"):
        if not board.get(field):
            wrong.append(f"{path}: no {field}")
    for panel in board["panels"]:
        where = f'{path}: panel "{panel.get("title")}"'
        if panel["id"] in ids:
            wrong.append(f"{where}: its id {panel['id']} is another's")
        ids.add(panel["id"])
        if panel["type"] == "row":
            continue
        if not panel.get("description"):
            wrong.append(f"{where}: no description")
        if not panel.get("targets"):
            wrong.append(f"{where}: no query")
        expressions += [(where, target["expr"]) for target in panel.get("targets", [])]
        for target in panel.get("targets", []):
            # An aggregation around all, without a label, leaves one line.
            kept = set() if re.match(r"(sum|max|min)\s*\(", target["expr"]) else grouping(target["expr"]) - {"le"}
            for label in sorted(kept - set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))):
                wrong.append(f"{where}: lines by {label}, and no legend says which")
    return board.get("uid"), expressions, wrong


def of_yaml(path):
    """Expressions in YAML, read without a YAML library: `expr:`, `query:`, `metricsQuery:`, `seriesQuery:` and `externalQuery`."""
    expressions, lines = [], open(path).read().split("\n")
    key = re.compile(r"^(\s*(?:- )?)(expr|query|metricsQuery|seriesQuery):\s*(.*)$")
    for number, line in enumerate(lines):
        match = key.match(line)
        if not match:
            continue
        text, indent = match.group(3), len(match.group(1))
        # A block, or a plain text that goes on: whatever is indented further.
        rest = []
        for following in lines[number + 1:]:
            if following.strip() and len(following) - len(following.lstrip()) <= indent:
                break
            rest.append(following)
        text = " ".join([("" if re.fullmatch(r"[|>][+-]?", text) else text), *rest]).strip()
        if text[:1] in "'\"" and text[-1:] == text[:1]:
            quote, text = text[0], text[1:-1]
            text = text.replace("''", "'") if quote == "'" else text.replace('\\"', '"')
        expressions.append((f"{path}:{number + 1}", text))
    return expressions


def records(path):
    """Names that recording rules make, each with the labels that it keeps."""
    rules = re.findall(r"^\s*- record:\s*(\S+)\s+expr:(.*?)(?=^\s*- |\Z)", open(path).read(), re.M | re.S)
    return {name: grouping(expression) for name, expression in rules}
