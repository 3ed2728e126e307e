"""How long a service may take to end after SIGTERM, by its source, and whether docker-compose.yml waits for longer. Called by
scripts/check-compose, and imported by scripts/k8s/check.py."""

import re
import sys

SOURCES = {
    "ingress-service": ("ingress-service/src/config.rs", [("ingress-service/src/exchange.rs", "STOP_TIMEOUT")]),
    "proxy-service": ("proxy-service/src/config.rs", [("proxy-service/src/pool.rs", "FLUSH_TIMEOUT"), ("proxy-service/src/lib.rs", "LAST_ANSWERS")]),
}
# The last traces are sent when all else has ended; and loops that are told to end may be within a command.
ALWAYS = [("shared/src/observe/trace/exporter.rs", "FLUSH_TIMEOUT"), ("shared/src/broker/redis/connection/shared.rs", "COMMAND_TIMEOUT")]


def seconds(duration):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)", duration).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]


def default(service, variable):
    """The default of a variable; 0 where the service has none of this name."""
    source = open(SOURCES[service][0]).read()
    found = re.search(rf'default_value = "(\w+)"[^\n]*\)\]\n    pub {variable.lower()}:', source)
    return seconds(found.group(1)) if found else 0


def last_steps(service):
    """What comes after SHUTDOWN_DELAY and DRAIN_TIMEOUT: each wait at its longest, as often as the source has it."""
    total = 0
    for path, name in SOURCES[service][1] + ALWAYS:
        source = open(path).read()
        unit, number = re.search(rf"const {name}: Duration = Duration::from_(secs|millis)\((\d+)\);", source).groups()
        # All but its definition; in the last resort once, where another module uses it.
        uses = max(1, len(re.findall(rf"\b{name}\b", source)) - 1)
        total += int(number) * {"secs": 1, "millis": 0.001}[unit] * (uses if (path, name) not in ALWAYS else 1)
    return total


def longest(service, given=lambda variable: None):
    """The longest end of a service; `given` says what it is told of a variable."""
    value = lambda variable: seconds(given(variable)) if given(variable) else default(service, variable)
    return value("SHUTDOWN_DELAY") + value("DRAIN_TIMEOUT") + last_steps(service)


def check(compose):
    """What is wrong with a compose file, in sentences."""
    wrong = []
    for service in SOURCES:
        block = re.search(rf"^  {service}:\n((?:    .*\n|\n)*)", compose, re.M).group(1)
        given = lambda variable: next(iter(re.findall(rf"- {variable}=(?:\$\{{\w+:-)?(\w+)", block)), None)
        grace = next(iter(re.findall(r"stop_grace_period: (\w+)", block)), "10s")
        takes = longest(service, given)
        if seconds(grace) <= takes:
            wrong.append(f"{service}: a drain takes up to {takes:g} s, and it is killed after {grace}")
    return wrong


def main():
    compose = open("docker-compose.yml").read()
    wrong = check(compose)
    print("\n".join(f"   docker-compose.yml: {text}" for text in wrong) or "   docker-compose.yml waits longer than the longest drain: "
          + ", ".join(f"{service} {longest(service):g} s" for service in SOURCES))
    # What must be noticed is noticed.
    for change in (lambda text: re.sub(r"stop_grace_period: \w+", "stop_grace_period: 26s", text), lambda text: re.sub(r" *stop_grace_period.*\n", "", text),
                   lambda text: text.replace("      - RUST_LOG", "      - DRAIN_TIMEOUT=2m\n      - RUST_LOG")):
        if len(check(change(compose))) != len(SOURCES):
            wrong.append("not noticed")
            print("   a drain that is cut off is not noticed")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
