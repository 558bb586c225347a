"""Names that only free text knows, found by somebody else's recogniser, for people to read and hand to the anonymiser as a directory."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from tacit.errors import UsageError
from tacit.logs.anonymise.tree import Node, tree_of
from tacit.logs.formats import Event
from tacit.logs.policies import SourcePolicy

KINDS = ("user", "email", "host")
Finder: TypeAlias = Callable[[Sequence[str]], Iterable[tuple[str, str]]]
"""From texts to names, each with its kind, one of `KINDS`."""

_ENTITIES = {"PERSON": "user", "EMAIL_ADDRESS": "email"}
_MOST = 100_000


def texts_of(events: Iterable[Event], policy: SourcePolicy) -> Iterator[str]:
    """The texts that a policy searches (``scrub``), field by field, as they come.

    >>> policy = SourcePolicy.parse("{version: 1, source: s, format: json, fields: {message: scrub, a.*: scrub, user: user}}")
    >>> list(texts_of([{"message": "hi", "user": "anna", "a": {"b": ["x", 1]}, "c": "left out"}], policy))
    ['hi', 'x']
    """
    root, rules = tree_of(policy.fields), list(policy.fields.values())
    searched = frozenset(number for number, rule in enumerate(rules) if rule.treatment == "scrub")
    for event in events:
        yield from _below(event, root, searched)


def _below(value: Any, node: Node, searched: frozenset[int]) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            child = node.child(key)
            if child is not None:
                yield from _below(inner, child, searched)
    elif isinstance(value, list):
        for inner in value:
            yield from _below(inner, node, searched)
    elif isinstance(value, str) and node.rule in searched:
        yield value


def find_names(texts: Iterable[str], finder: Finder, *, batch: int = 1_000) -> dict[str, dict[str, int]]:
    """Names by kind, and in how many different texts each was found.

    Args:
        texts: those that stand more than once count once.
        finder: is given ``batch`` texts at a time.

    Raises:
        UsageError: the finder gives what is no name with its kind.
    """
    found: dict[str, dict[str, int]] = {kind: {} for kind in KINDS}
    seen: set[str] = set()
    waiting: list[str] = []

    def search() -> None:
        for kind, name in finder(waiting):
            if kind not in found or not isinstance(name, str):
                raise UsageError(f"Expected the finder to give pairs of a kind ({', '.join(KINDS)}) and a name; it gave a {kind!r}.")
            whole = " ".join(name.split())
            if whole:
                found[kind][whole] = found[kind].get(whole, 0) + 1
        waiting.clear()

    for text in texts:
        if text in seen:
            continue
        if len(seen) < _MOST:
            seen.add(text)
        waiting.append(text)
        if len(waiting) >= batch:
            search()
    if waiting:
        search()
    return found


def presidio(model: str = "en_core_web_lg", *, language: str = "en", least: float = 0.5) -> Finder:
    """Microsoft Presidio over a spaCy model: persons become users, e-mail addresses e-mails. Whatever else it finds, the anonymiser finds itself.

    Args:
        model: name of an installed spaCy model, or its folder.
        language: of the texts, as the model has it.
        least: score below which a find does not count, from 0 to 1.

    Raises:
        UsageError: Presidio or the model is not installed; nothing is ever fetched.
    """
    try:
        analyzer, engines, spacy = (importlib.import_module(name) for name in ("presidio_analyzer", "presidio_analyzer.nlp_engine", "spacy"))
    except ImportError:
        raise UsageError("The finder «presidio» needs Presidio, no part of Tacit: pip install presidio-analyzer, and a spaCy model.") from None
    if not spacy.util.is_package(model) and not Path(model).is_dir():  # Presidio would fetch it
        raise UsageError(f"Expected an installed spaCy model; «{model[:60]}» is none. Get one with python -m spacy download, or name its folder.")
    setting = {"nlp_engine_name": "spacy", "models": [{"lang_code": language, "model_name": model}]}
    engine = engines.NlpEngineProvider(nlp_configuration=setting).create_engine()
    analyser = analyzer.AnalyzerEngine(nlp_engine=engine, supported_languages=[language])

    def find(texts: Sequence[str]) -> Iterator[tuple[str, str]]:
        for text in texts:
            for one in analyser.analyze(text, language=language, entities=list(_ENTITIES), score_threshold=least):
                yield _ENTITIES[one.entity_type], text[one.start : one.end]

    return find
