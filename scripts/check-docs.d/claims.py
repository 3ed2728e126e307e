"""What can be said of documents without running them: blocks parse, and what they name is there."""

import os
import re
import subprocess
import tomllib
import unicodedata

PATH = re.compile(r"(?<![\w:/.$}-])(?:\./)?((?:scripts|k8s|monitoring|docs|shared|ingress-service|proxy-service|\.ci|\.github)/[\w./-]*\w)(?![\w*…<{])")
KUSTOMIZED = re.compile(r"(?:apply|delete|diff) -k (\S+)|kubectl kustomize (\S+)")
OVERLAY = re.compile(r"scripts/(?:un)?deploy(?: --\S+)* ([a-z][\w-]*)")
PACKAGE = re.compile(r"\bcargo (?:run|build|test|bench)\b[^\n#]*? -p ([\w-]+)")
SCENARIO = re.compile(r"--scenario ([a-z][\w-]*)")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+?)\s*$", re.MULTILINE)
CODE = re.compile(r"^```.*?^```[^\n]*$|^ {4}[^\n]*$", re.MULTILINE | re.DOTALL)


def of_block(root, block):
    """What is wrong with a block, whether it is run or not."""
    parsed = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True)
    if parsed.returncode:
        yield f"bash cannot read it: {parsed.stderr.strip()}"
    for found in KUSTOMIZED.finditer(block.text):
        directory = found[1] or found[2]
        # One beside the repository is the reader's own.
        is_ours = not directory.startswith("../")
        if is_ours and not os.path.exists(os.path.join(root, directory, "kustomization.yaml")):
            yield f"{directory} holds no kustomization.yaml"
    for name in OVERLAY.findall(block.text):
        if not os.path.isdir(os.path.join(root, "k8s/overlays", name)):
            yield f'there is no overlay "{name}"'
    for name in PACKAGE.findall(block.text):
        if name not in packages(root):
            yield f'there is no package "{name}"'
    for name in SCENARIO.findall(block.text):
        if not os.path.exists(os.path.join(root, f"scripts/chaos/src/bin/chaos/scenario/{name.replace('-', '_')}.rs")):
            yield f'chaos has no scenario "{name}"'


def packages(root):
    with open(os.path.join(root, "Cargo.toml"), "rb") as file:
        members = tomllib.load(file)["workspace"]["members"]
    names = set()
    for member in members:
        with open(os.path.join(root, member, "Cargo.toml"), "rb") as file:
            names.add(tomllib.load(file)["package"]["name"])
    return names


def of_document(root, document, text):
    """Paths and links of a document that lead nowhere, each with its line."""
    for found in PATH.finditer(text):
        if not os.path.exists(os.path.join(root, found[1])):
            yield line_of(text, found.start()), f"there is no {found[1]}"
    # What stands in code is no link; blanks keep the lines where they are.
    prose = CODE.sub(lambda code: re.sub(r"[^\n]", " ", code[0]), text)
    for found in LINK.finditer(prose):
        target = found[1] or found[2]
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        file = os.path.normpath(os.path.join(root, os.path.dirname(document), path)) if path else os.path.join(root, document)
        if not os.path.exists(file):
            yield line_of(text, found.start()), f"a link leads to {path}, which is not there"
        elif anchor and file.endswith(".md") and anchor not in anchors(file):
            yield line_of(text, found.start()), f"a link leads to #{anchor}, which {path or document} does not have"


def line_of(text, at):
    return text.count("\n", 0, at) + 1


def anchors(file):
    """The names under which the headings of a document can be linked to, as GitHub makes them."""
    with open(file, encoding="utf-8") as opened:
        headings = HEADING.findall(opened.read())
    return {re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", unicodedata.normalize("NFC", each)).lower()).replace(" ", "-") for each in headings}
