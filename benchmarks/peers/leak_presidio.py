"""Presidio on texts, known fields hashed: ``python -m benchmarks.peers.leak_presidio FOLDER [DIRECTORY]``. Prints CPU seconds as one JSON line.

Its pattern recognisers run on a blank spaCy model, because models are no packages; a directory is given to it as lists of words to deny.
"""

from __future__ import annotations

import json
import logging
import sys
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import spacy
from presidio_analyzer import AnalyzerEngine, PatternRecognizer, RecognizerRegistry
from presidio_analyzer.nlp_engine import SpacyNlpEngine

from benchmarks.peers.leaking import contest, hashed

logging.disable(logging.WARNING)


class Blank(SpacyNlpEngine):
    """Without a model there is nothing to download."""

    def load(self) -> None:
        """A blank tokeniser."""
        self.nlp = {"en": spacy.blank("en")}


def engine(directory: list[str]) -> AnalyzerEngine:
    nlp = Blank()
    nlp.load()
    registry = RecognizerRegistry(supported_languages=["en"])
    registry.load_predefined_recognizers(nlp_engine=nlp, languages=["en"])
    if directory:
        registry.add_recognizer(PatternRecognizer(supported_entity="NAME", deny_list=directory))
    return AnalyzerEngine(nlp_engine=nlp, registry=registry, supported_languages=["en"])


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0])
    directory = [] if len(arguments) < 2 else (folder / arguments[1]).read_text(encoding="utf-8").splitlines()
    analyser = engine(directory)

    @lru_cache(maxsize=100_000)
    def search(text: str) -> str:
        spans = sorted((found.start, found.end) for found in analyser.analyze(text, language="en"))
        out, place = [], 0
        for start, end in spans:
            if end > place:
                out += [text[place : max(start, place)], hashed(text[max(start, place) : end])]
                place = end
        return "".join([*out, text[place:]])

    found = contest(folder, search, name="presidio-directory" if directory else "presidio")
    sys.stdout.write(json.dumps({**found, "version": version("presidio-analyzer")}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
