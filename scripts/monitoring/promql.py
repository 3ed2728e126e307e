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
    """Names that recording rules make."""
    return set(re.findall(r"^\s*- record:\s*(\S+)", open(path).read(), re.M))
