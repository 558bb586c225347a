"""Malicious addresses by a small private transformer: what does it cost that nobody can tell whose clicks were in the proxy's log?

    python examples/soc/urls.py MALICIOUS.csv FOLDER [--epsilon 3] [--output urls.tacit]

MALICIOUS.csv holds an address at the beginning of each line. FOLDER holds text files that mention harmless ones: documentation, bookmarks, detection
rules with their references. Addresses of one host are either all learned from or all ranked, so that no host is recognised. Needs tacit[torch].
"""

from __future__ import annotations

import argparse
import re
import sys
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from tacit import Budget
from tacit.crypto import SigningKey
from tacit.learn import SequenceClassifier

CLASSES = ("harmless", "malicious")
DELTA = 1e-5
MOST = 6_000
ADDRESS = re.compile(r"https?://[^\s\"'<>)\]]+")


def plain(address: str) -> str:
    """Without scheme and «www.», which say where a list comes from and not what an address is."""
    return re.sub(r"^(https?://)?(www\.)?", "", address.strip().strip('"').lower()).rstrip(".,;/")


def host(address: str) -> str:
    """The host of a plain address."""
    return re.split(r"[/:?#]", address, maxsplit=1)[0]


def malicious(path: Path) -> list[str]:
    """The addresses of a list, at most `MOST`, spread over it."""
    if not path.is_file():
        raise SystemExit(_refused(f"Expected a file of addresses at {path}; there is none."))
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    found = sorted({plain(line.rsplit(",", 1)[0]) for line in lines} - {"", "url"})
    return found[:: max(1, len(found) // MOST)][:MOST]


def harmless(folder: Path) -> list[str]:
    """The addresses that the text files of a folder mention."""
    if not folder.is_dir():
        raise SystemExit(_refused(f"Expected a folder at {folder}; there is none."))
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in (".yml", ".yaml", ".md", ".txt", ".json", ".html"))
    found = {plain(match) for path in files for match in ADDRESS.findall(path.read_text(encoding="utf-8", errors="replace"))}
    if len(found) < 200:
        raise SystemExit(_refused(f"Expected some hundred addresses in the files of {folder}; got {len(found)}."))
    return sorted(found)


def held_out(addresses: list[str]) -> NDArray[np.bool_]:
    """A quarter of the hosts, by a public hash."""
    return np.array([zlib.crc32(host(address).encode()) % 4 == 0 for address in addresses])


def measures(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> str:
    """AUC, and what is found while one harmless address in a hundred is taken for a malicious one."""
    threshold = np.quantile(scores[~truth], 0.99)
    return f"AUC {roc_auc_score(truth, scores):.3f}   found at 1 % false alarms {np.mean(scores[truth] > threshold):.0%}"


def _refused(message: str) -> int:
    print(message, file=sys.stderr)
    return 2


def main(arguments: list[str] | None = None) -> int:
    """Print one line for each detector."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("malicious", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epsilon", type=float, default=3.0, help="for an address (default 3)")
    parser.add_argument("--output", type=Path, help="where to write the model, signed by a key made for it")
    asked = parser.parse_args(arguments)
    bad, good = malicious(asked.malicious), harmless(asked.folder)
    addresses, truth = bad + good, np.repeat([True, False], [len(bad), len(good)])
    test = held_out(addresses)
    known, ranked = ([address for address, chosen in zip(addresses, mask, strict=True) if chosen] for mask in (~test, test))
    print(f"{len(known):,} addresses to learn from, {len(ranked):,} of other hosts to rank", file=sys.stderr)
    detector = SequenceClassifier(Budget(asked.epsilon, DELTA), classes=CLASSES).fit(known, np.array(CLASSES)[truth[~test].astype(int)])
    print(detector.guarantee_, file=sys.stderr)
    print(f"private transformer, epsilon {asked.epsilon:g}     {measures(truth[test], detector.predict_proba(ranked)[:, 1])}")
    grams = HashingVectorizer(analyzer="char", ngram_range=(3, 3), n_features=1 << 16)
    open_book = LogisticRegression(C=10, max_iter=500).fit(grams.transform(known), truth[~test])
    print(f"logistic regression, no privacy    {measures(truth[test], open_book.decision_function(grams.transform(ranked)))}")
    lengths = np.array([len(address) for address in ranked], float)
    print(f"a rule: the shortest addresses     {measures(truth[test], -lengths)}")
    if asked.output:
        detector.model_.save(asked.output, SigningKey.generate())
    return 0


if __name__ == "__main__":
    sys.exit(main())
