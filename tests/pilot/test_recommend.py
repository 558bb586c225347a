from __future__ import annotations

import re
import shlex
from dataclasses import fields, is_dataclass, replace
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner

from tacit.cli import root
from tacit.pilot.gates import Gates
from tacit.pilot.recommend import recommend
from tacit.pilot.results import FAIL, PASS, Candidate, EvidenceBook, LedgerInfo, Meta, Recommendation

WIDE = Gates(auc_loss=1, recall_loss=1, attack_advantage=1, group_gap=1)


@pytest.fixture
def meta(builder: ModuleType) -> Meta:
    made: Meta = builder.make_meta(EvidenceBook())
    return made


def of_file(meta: Meta, **changes: Any) -> Meta:
    arguments = "'my events.csv' --target label --positive yes"
    return replace(meta, source="file", data_arguments=arguments, command=f"tacit pilot --data {arguments} --output out", **changes)


def candidates(builder: ModuleType, *specs: Any) -> list[Candidate]:
    book = EvidenceBook()
    return [builder.make_candidate(spec, book) for spec in specs]


def spec(builder: ModuleType, name: str, **changes: Any) -> Any:
    return replace(next(item for item in builder.SPECS if item.name == name), **changes)


def everything(value: Any) -> list[str]:
    """Every text of a recommendation."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, tuple):
        return [text for item in value for text in everything(item)]
    return [text for item in fields(value) for text in everything(getattr(value, item.name))] if is_dataclass(value) else []


# ------------------------------------------------------------ the choice


def test_the_smallest_budget_that_passes_is_chosen(builder: ModuleType, meta: Meta) -> None:
    decision = recommend(candidates(builder, *builder.SPECS), Gates(), meta=meta)
    assert decision.recommendation.verdict == PASS
    assert decision.recommendation.candidate == "ε = 1"
    assert decision.recommendation.headline == "Use ε = 1 per user-day."
    assert decision.recommendation.closest is None


def test_the_order_of_the_candidates_does_not_matter(builder: ModuleType, meta: Meta) -> None:
    for gates in (Gates(), WIDE, Gates(auc_loss=0)):
        forwards = recommend(candidates(builder, *builder.SPECS), gates, meta=meta).recommendation
        backwards = recommend(candidates(builder, *reversed(builder.SPECS)), gates, meta=meta).recommendation
        assert (forwards.candidate, forwards.closest, forwards.headline) == (backwards.candidate, backwards.closest, backwards.headline)


@pytest.mark.parametrize(("names", "chosen"), [
    (("ε = 1", "Logistic, ε = 1"), "ε = 1"),
    (("4 sites, ε = 1", "ε = 8"), "ε = 8"),
    (("4 sites, ε = 1", "Logistic, ε = 1"), "Logistic, ε = 1"),
    (("Logistic, ε = 1", "ε = 3"), "Logistic, ε = 1"),
    (("4 sites, ε = 1",), "4 sites, ε = 1"),
])
def test_one_curator_comes_before_sites_then_less_epsilon_then_the_ensemble(
    builder: ModuleType, meta: Meta, names: tuple[str, ...], chosen: str,
) -> None:
    made = candidates(builder, builder.SPECS[0], *(spec(builder, name) for name in names))
    assert recommend(made, WIDE, meta=meta).recommendation.candidate == chosen


def test_the_budget_that_was_asked_for_decides_and_not_the_last_digits_of_the_guarantee(builder: ModuleType, meta: Meta) -> None:
    base, ensemble, linear = candidates(builder, builder.SPECS[0], spec(builder, "ε = 1"), spec(builder, "Logistic, ε = 1"))
    ensemble, linear = replace(ensemble, epsilon=0.99105), replace(linear, epsilon=0.98838)
    assert recommend([base, ensemble, linear], WIDE, meta=meta).recommendation.candidate == "ε = 1"


def test_the_headline_says_where_a_model_is_trained_and_of_what_kind_it_is(builder: ModuleType, meta: Meta) -> None:
    sites = candidates(builder, builder.SPECS[0], spec(builder, "4 sites, ε = 1"))
    linear = candidates(builder, builder.SPECS[0], spec(builder, "Logistic, ε = 1"))
    assert recommend(sites, WIDE, meta=meta).recommendation.headline == "Use ε = 1 per user-day over 4 sites."
    assert recommend(linear, WIDE, meta=meta).recommendation.headline == "Use ε = 1 per user-day with logistic regression."


def test_that_sites_pass_too_is_said(builder: ModuleType, meta: Meta) -> None:
    found = recommend(candidates(builder, *builder.SPECS), Gates(), meta=meta).recommendation
    assert any(reason.text == "Keeping the records at their sites also passes: 4 sites, ε = 1." for reason in found.reasons)


def test_a_larger_budget_that_fails_beside_a_smaller_one_that_passes_is_an_oddity(builder: ModuleType, meta: Meta) -> None:
    made = candidates(builder, builder.SPECS[0], spec(builder, "ε = 1"), spec(builder, "ε = 3", recall=0.5), spec(builder, "ε = 8"))
    decision = recommend(made, Gates(), meta=meta)
    assert decision.recommendation.candidate == "ε = 1"
    assert decision.warnings == ("ε = 3 does not pass every gate although ε = 1 does: look at the gate table before you rely on the choice.",)
    assert not recommend(candidates(builder, *builder.SPECS), Gates(), meta=meta).warnings


# ------------------------------------------------------------ nothing passes


def test_where_nothing_passes_the_closest_is_named_with_what_stops_it(builder: ModuleType, meta: Meta) -> None:
    found = recommend(candidates(builder, *builder.SPECS), Gates(recall_loss=0.001), meta=meta).recommendation
    assert (found.verdict, found.candidate, found.closest) == ("none", None, "ε = 8")
    assert found.headline == "No budget passes every gate."
    assert found.sentence == (
        "6 models with a guarantee were compared; on this evidence, deploy none of them. ε = 8 comes closest. "
        "With 20 alerts a day it finds 92 of 100 intrusions (without privacy: 93)."
    )
    assert [reason.text.partition(":")[0] for reason in found.reasons] == ["Detections kept"]


def test_a_model_that_leaks_is_never_the_closest(builder: ModuleType, meta: Meta) -> None:
    leaky = spec(builder, "ε = 8", hits=600)
    made = candidates(builder, builder.SPECS[0], leaky, spec(builder, "ε = 0.1", recall=0.1, auc=0.6))
    assert recommend(made, Gates(), meta=meta).recommendation.closest == "ε = 0.1"


def test_what_would_help_follows_from_what_is_wrong(builder: ModuleType, meta: Meta) -> None:
    def helps(gates: Gates, *specs: Any, baseline: bool = True) -> str:
        made = candidates(builder, *(builder.SPECS[:1] if baseline else ()), *specs)
        return " ".join(recommend(made, gates, meta=meta).recommendation.helps)

    strict = Gates(recall_loss=0.001)
    small, large = spec(builder, "ε = 0.1", recall=0.5), spec(builder, "ε = 8", hits=600)
    assert "More records" in helps(strict, small)
    assert "even the largest budget loses too much" in helps(strict, spec(builder, "ε = 8", recall=0.2))
    assert "even the largest budget" not in helps(strict, small, spec(builder, "ε = 8", recall=0.93, auc=0.9921, hits=600))
    assert "A smaller ε" in helps(Gates(), large)
    assert "A baseline without privacy" in helps(Gates(), spec(builder, "ε = 1"), baseline=False)
    for text in (helps(strict, small), helps(Gates(), large)):
        assert text.endswith("that is a decision about risk, so write down who took it and why.")


def test_one_model_that_fails_is_spoken_of_as_one(builder: ModuleType, meta: Meta) -> None:
    found = recommend(candidates(builder, builder.SPECS[0], spec(builder, "ε = 0.1")), Gates(), meta=meta).recommendation
    assert found.sentence.startswith("One model with a guarantee was compared, ε = 0.1; on this evidence, do not deploy it.")


@pytest.mark.parametrize("count", [0, 1])
def test_without_any_guarantee_there_is_nothing_to_recommend(builder: ModuleType, meta: Meta, count: int) -> None:
    decision = recommend(candidates(builder, *builder.SPECS[:count]), Gates(), meta=meta)
    assert decision.gates == ()
    assert (decision.recommendation.verdict, decision.recommendation.headline) == ("none", "Nothing to recommend.")


def test_without_a_baseline_nothing_is_recommended(builder: ModuleType, meta: Meta) -> None:
    assert recommend(candidates(builder, *builder.SPECS[1:]), WIDE, meta=meta).recommendation.verdict == "none"


# ------------------------------------------------------------ alarm


def test_an_attack_beyond_the_proof_stops_everything(builder: ModuleType, meta: Meta) -> None:
    broken = [replace(item, hits=900) if item.name == "ε = 0.1" else item for item in builder.SPECS]
    decision = recommend(candidates(builder, *broken), Gates(), meta=meta)
    found = decision.recommendation
    assert [gate.candidate for gate in decision.gates if gate.name == "attack_bound" and gate.status == FAIL] == ["ε = 0.1"]
    assert (found.verdict, found.candidate, found.closest) == ("alarm", None, None)
    assert found.sentence == "An attack on ε = 0.1 did better than the guarantee allows."
    assert found.steps[0].command == "tacit pilot"
    assert "tacit ledger verify" in found.steps[1].command


# ------------------------------------------------------------ wording and next steps


def situations(builder: ModuleType, meta: Meta) -> list[Recommendation]:
    odd = replace(builder.SPECS[0], auc=0.98 + 1 / 300, recall=1 / 3 + 0.5)
    third = [replace(item, epsilon=item.epsilon / 3 if item.epsilon else None, recall=item.recall - 1 / 70) for item in builder.SPECS[1:]]
    broken = [replace(item, hits=1111) for item in third]
    return [
        recommend(candidates(builder, odd, *specs), gates, meta=place).recommendation
        for specs in (third, broken, third[:1]) for gates in (Gates(1 / 3, 1 / 3, 1 / 3, 1 / 3), Gates(1 / 900, 1 / 900, 1 / 900, 1 / 900))
        for place in (meta, of_file(meta), replace(meta, alert=None))
    ]


def test_no_sentence_shows_the_noise_of_a_floating_point_number(builder: ModuleType, meta: Meta) -> None:
    texts = [text for found in situations(builder, meta) for text in everything(replace(found, steps=()))]
    assert len(texts) > 200
    for text in texts:
        assert not re.search(r"\d\.\d{5}|\d{7}|e[-+]\d|nan|inf\b|None|True|False|\{|\}", text), text


def test_every_sentence_ends_and_begins_as_one(builder: ModuleType, meta: Meta) -> None:
    for found in situations(builder, meta):
        for text in (found.headline, *(reason.text for reason in found.reasons), *found.helps, *(step.why for step in found.steps)):
            assert text.endswith("."), text
            assert text[0].isupper() or text[0] in "ε4", text
            assert ".." not in text
            assert "  " not in text


def test_every_reason_has_evidence(builder: ModuleType, meta: Meta) -> None:
    for found in situations(builder, meta):
        assert found.refs
        assert all(reason.refs for reason in found.reasons if not reason.text.startswith(("ε = 0.333 is", "ε = 2.67 is")))


def test_steps_after_a_file_lead_from_the_policy_to_the_model(builder: ModuleType, meta: Meta) -> None:
    found = recommend(candidates(builder, *builder.SPECS), Gates(), meta=of_file(meta)).recommendation
    assert [step.command for step in found.steps] == [
        "tacit init",
        "tacit train 'my events.csv' --target label --positive yes --policy tacit.toml --budget 1 --output model.tacit",
        f"tacit ledger verify --ledger pilot/assessment.db --head {builder.HEAD}",
        "tacit pilot --data 'my events.csv' --target label --positive yes --output out --release",
    ]
    assert "epsilon to at least 1, and delta to 1e-06" in found.steps[0].why


def test_nobody_is_told_to_train_on_simulated_records(builder: ModuleType, meta: Meta) -> None:
    commands = [step.command for step in recommend(candidates(builder, *builder.SPECS), Gates(), meta=meta).recommendation.steps]
    assert commands[0] == "tacit pilot --data events.parquet --target label --unit user"
    assert not any("tacit train" in command for command in commands)


def test_nobody_is_told_to_train_an_ensemble_where_a_linear_or_federated_model_was_chosen(builder: ModuleType, meta: Meta) -> None:
    for name, place in (("Logistic, ε = 1", "LinearClassifier"), ("4 sites, ε = 1", "LocalFederation")):
        steps = recommend(candidates(builder, builder.SPECS[0], spec(builder, name)), WIDE, meta=of_file(meta)).recommendation.steps
        assert not any("tacit train" in step.command for step in steps)
        assert any(place in step.why for step in steps)


def test_a_release_that_was_made_is_not_proposed_again(builder: ModuleType, meta: Meta) -> None:
    made = replace(of_file(meta), command="tacit pilot --data x.csv --target y --release")
    steps = recommend(candidates(builder, *builder.SPECS), Gates(recall_loss=0), meta=made).recommendation.steps
    assert [step.command for step in steps if step.command.startswith("tacit pilot")] == ["tacit pilot --data x.csv --target y"]


def test_a_ledger_at_an_odd_place_is_quoted(builder: ModuleType, meta: Meta) -> None:
    odd = replace(meta, ledger=LedgerInfo(builder.HEAD, 6, "my pilot; rm -rf $HOME/ledger.db"))
    commands = [step.command for step in recommend(candidates(builder, *builder.SPECS), Gates(), meta=odd).recommendation.steps]
    verify = shlex.split(next(command for command in commands if "verify" in command))
    assert verify == ["tacit", "ledger", "verify", "--ledger", "my pilot; rm -rf $HOME/ledger.db", "--head", builder.HEAD]


def test_every_command_that_is_proposed_exists_with_these_options(builder: ModuleType, meta: Meta) -> None:
    commands = {step.command for found in situations(builder, meta) for step in found.steps if step.command}
    assert len(commands) >= 6
    for command in commands:
        words = shlex.split(command)
        assert words[0] == "tacit"
        names = [word for word in words[1:] if not word.startswith("-")]
        path = names[:2] if names[0] == "ledger" else names[:1]
        shown = CliRunner().invoke(root, [*path, "--help"])
        assert shown.exit_code == 0, command
        for option in (word for word in words if word.startswith("--")):
            assert option in shown.output, f"{command}: there is no {option}"
