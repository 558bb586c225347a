"""Our anonymiser on a file: ``python -m benchmarks.workers.leaks FOLDER [DIRECTORY]``. Prints CPU seconds and pseudonyms of addresses as JSON."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from tacit.logs.anonymise import Anonymiser
from tacit.logs.formats import batches, by_name, opened
from tacit.logs.keys import EpochKey
from tacit.logs.policies import SourcePolicy


def main(arguments: list[str]) -> int:
    folder, begun = Path(arguments[0]), time.process_time()
    policy = SourcePolicy.pack("ecs")
    form, anonymiser = by_name(policy.format), Anonymiser(policy, EpochKey.for_tests())
    name = "tacit" if len(arguments) < 2 else "tacit-directory"
    if len(arguments) > 1:
        directory = json.loads((folder / arguments[1]).read_text(encoding="utf-8"))
        anonymiser.know(users=[*directory["user"], *directory["email"]], hosts=[*directory["host"], *directory["fqdn"]])
    with opened(folder / "events.jsonl") as source:
        for lines in batches(source, lines=20_000):
            anonymiser.learn(form.parse(lines).events)
    written: set[str] = set()
    count = 0
    with opened(folder / "events.jsonl") as source, (folder / f"{name}.jsonl").open("w", encoding="utf-8") as target:
        for lines in batches(source, lines=20_000):
            texts = anonymiser.texts(form.parse(lines).events).events
            target.writelines(text + "\n" for text in texts)
            count += len(texts)
    spent = time.process_time() - begun
    with (folder / f"{name}.jsonl").open(encoding="utf-8") as made:
        for line in made:
            event = json.loads(line)
            for side in ("source", "destination", "host"):
                values = event.get(side, {}).get("ip") or []
                written.update([values] if isinstance(values, str) else values)
    (folder / f"{name}.written").write_text(json.dumps(sorted(written)), encoding="utf-8")
    sys.stdout.write(json.dumps({"events": count, "cpu_seconds": spent}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
