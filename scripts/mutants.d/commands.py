"""The commands that must notice a mutation: how each is built, run and read. The rule: only what says that it found
something counts as noticed, with exit status 1, or by the names of failed tests. All else is a broken tester."""

import os
import re
from dataclasses import dataclass

FORMS = "test -p PACKAGE (--lib | --test NAME) FILTER, chaos --scenario NAME [--seed N], or simulate (--seeds N | --seed N)"

# How long a build, and each kind of command, may take, in seconds: several times what it takes.
BUILD_TIME = 1800
TIMES = {"test": 300, "chaos": 420, "simulate": 420}

PASSED, NOTICED, BROKE = "passed", "noticed", "broke"

LONGEST = 150


@dataclass(frozen=True)
class Command:
    """One command, as it is written after Noticed-By."""

    text: str
    kind: str
    package: str
    # Of a test: --lib or --test NAME, and the filter.
    target: tuple = ()
    filter: str = ""
    # Of a program: its arguments, and a scenario that must exist.
    arguments: tuple = ()
    scenario: str = ""

    def limit(self):
        return TIMES[self.kind]

    def build(self, cargo):
        """What has to succeed before it is run: no failure of this is ever taken for a notice."""
        if self.kind == "test":
            return [*cargo, "test", "--locked", "--no-run", "--message-format", "short", "-p", self.package, *self.target]
        packages = ["-p", self.package] + (["-p", "ingress-service"] if self.kind == "chaos" else [])
        return [*cargo, "build", "--locked", "--profile", "quick", "--message-format", "short", *packages]

    def run(self, cargo, target):
        if self.kind == "test":
            return [*cargo, "test", "--locked", "-p", self.package, *self.target, self.filter]
        programs = os.path.join(target, "quick")
        services = ["--services", programs] if self.kind == "chaos" else []
        return [os.path.join(programs, self.package), *services, *self.arguments]

    def read(self, status, output):
        """What its end means: one of the three, and what it said, in a line."""
        if self.kind == "test":
            return read_tests(status, output)
        if status == 0:
            return PASSED, ""
        if status == 1:
            return NOTICED, shorten(read_findings(output) if self.kind == "chaos" else read_history(output))
        return BROKE, shorten(f"exit status {status}: {last_line(output)}")

    def missing(self, root):
        """What it names and is not there, in sentences."""
        directory = package_directory(root, self.package)
        if directory is None:
            return [f"there is no package {self.package}"]
        if self.kind == "chaos":
            found = any(f'"{self.scenario}"' in text for _, text in sources(os.path.join(directory, "src", "bin", "chaos")))
            return [] if found else [f"chaos has no scenario {self.scenario}"]
        return self.missing_test(directory) if self.kind == "test" else []

    def missing_test(self, directory):
        places = [os.path.join(directory, "src")]
        if self.target[0] == "--test":
            name = os.path.join(directory, "tests", self.target[1])
            places = [place for place in (f"{name}.rs", name) if os.path.exists(place)]
            if not places:
                return [f"{self.package} has no test {self.target[1]}"]
            # A test of the suite that every backend passes is a function there.
            places.append(os.path.join(directory, "src"))
        *modules, last = [part for part in self.filter.split("::") if part]
        texts = [pair for place in places for pair in sources(place)]
        is_module = lambda name: any(path.endswith((f"/{name}.rs", f"/{name}/mod.rs")) or re.search(rf"\bmod {name}\b", text) for path, text in texts)
        is_test = any(re.search(rf"\bfn \w*{re.escape(last)}", text) for _, text in texts)
        wrong = [f"{self.package} has no module {name}" for name in modules if not is_module(name)]
        if not is_test and not is_module(last):
            wrong.append(f"{self.package} has no test {last}")
        return wrong


def parse(text):
    """A command of one of the known forms.

    Raises ValueError: what is accepted."""
    words = text.split()
    match words:
        case ["test", "-p", package, "--lib", name]:
            return Command(" ".join(words), "test", package, ("--lib",), name)
        case ["test", "-p", package, "--test", target, name]:
            return Command(" ".join(words), "test", package, ("--test", target), name)
        case ["chaos", "--scenario", name]:
            return Command(" ".join(words), "chaos", "chaos", arguments=tuple(words[1:]), scenario=name)
        case ["chaos", "--scenario", name, "--seed", seed] if seed.isdecimal():
            return Command(" ".join(words), "chaos", "chaos", arguments=tuple(words[1:]), scenario=name)
        case ["simulate", "--seeds" | "--seed", number] if number.isdecimal():
            return Command(" ".join(words), "simulate", "simulate", arguments=tuple(words[1:]))
    raise ValueError(f"Noticed-By: {text!r}: accepted is {FORMS}")


def read_tests(status, output):
    failed = re.findall(r"^test (.+?)(?: - should panic)? \.\.\. FAILED", output, re.M)
    passed = sum(int(count) for count in re.findall(r"^test result: \w+\. (\d+) passed", output, re.M))
    if failed:
        more = f" and {len(failed) - 2} more" if len(failed) > 2 else ""
        return NOTICED, shorten(", ".join(failed[:2]) + more)
    if status == 0 and passed > 0:
        return PASSED, ""
    if status == 0:
        return BROKE, "no test of this name ran"
    return BROKE, shorten(f"exit status {status} without a failed test: {last_line(output)}")


def read_findings(output):
    """The expectations of chaos that were not met, each with what was measured."""
    found = [re.sub(r"\s{2,}", ": ", line) for line in re.findall(r"^ +FAILED +(.+)$", output, re.M)]
    return "; ".join(found) or last_line(output)


def read_history(output):
    """The first finding of the simulation: its seed, the invariant, and what broke it."""
    found = re.search(r"^(?:seed \d+(?:, work \d+)?|broken): .+$", output, re.M)
    return found.group(0) if found else last_line(output)


def first_error(output):
    """The first error of a compiler, in a line; the last line where it names none."""
    found = re.search(r"^(?:\S+:\d+:\d+: )?error.*$", output, re.M)
    return shorten(found.group(0) if found else last_line(output))


def last_line(output):
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def shorten(text):
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def package_directory(root, package):
    with open(os.path.join(root, "Cargo.toml"), encoding="utf-8") as file:
        members = re.search(r"^members = \[(.*?)\]", file.read(), re.M | re.S)
    for member in re.findall(r'"([^"]+)"', members.group(1) if members else ""):
        directory = os.path.join(root, member)
        with open(os.path.join(directory, "Cargo.toml"), encoding="utf-8") as file:
            if re.search(rf'^name = "{re.escape(package)}"$', file.read(), re.M):
                return directory
    return None


def sources(place):
    """The Rust files there, each with its text."""
    files = [place] if os.path.isfile(place) else []
    for directory, _, names in os.walk(place):
        files += [os.path.join(directory, name) for name in names if name.endswith(".rs")]
    for path in files:
        with open(path, encoding="utf-8") as file:
            yield path, file.read()
