"""What may leave of each field of one source, as its owner decided: a YAML file in which what is not named does not pass."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from tacit.errors import ConfigError, StorageError
from tacit.logs.treatments import LOCAL, TREATMENTS

_LARGEST = 1 << 20


@dataclass(frozen=True)
class FieldRule:
    """What happens to one field.

    Args:
        path: keys joined by dots; ``*`` is any one key, ``**`` at the end everything below.
        treatment: its name.
        options: of the treatment.
        why: a reason for people.
    """

    path: str
    treatment: str
    options: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""

    @property
    def promise(self) -> str:
        """What the treatment leaves, in words; a pseudonym is never called anything else."""
        kind = TREATMENTS[self.treatment].promise
        if kind != LOCAL:
            return kind
        epsilon, events = float(self.options["epsilon"]), int(self.options.get("events_per_day", 100))
        return f"{LOCAL}: ε={epsilon:g} per event, ε={epsilon * events:g} per unit and day, local"


@dataclass(frozen=True)
class SourcePolicy:
    """The policy of one source.

    >>> policy = SourcePolicy.pack("ecs")
    >>> policy.fields["user.name"].treatment, policy.unknown
    ('user', 'drop')

    Args:
        source: a public name of the source.
        format: how its records are written, one of `tacit.logs.formats.NAMES`.
        fields: rules by path.
        unknown: «drop» leaves out a field without a rule, «refuse» the whole record.
        time: path of the time of an event, where a treatment needs it.
        entity: path of whose times are moved together.
        unit: path of who is protected as one.
        accounts: accounts that stay, beyond the built-in ones.
        domains: domains that stay with all their hosts.
        networks: networks whose addresses stay.
    """

    source: str
    format: str
    fields: Mapping[str, FieldRule]
    unknown: str = "drop"
    time: str | None = None
    entity: str | None = None
    unit: str | None = None
    accounts: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()

    @classmethod
    def load(cls, path: str | Path) -> SourcePolicy:
        """Read a policy file; ``pack:NAME`` reads one that comes with Tacit.

        Raises:
            ConfigError: it is no policy; the message names the place.
            StorageError: it cannot be read.
        """
        text = str(path)
        if text.startswith("pack:"):
            return cls.pack(text.removeprefix("pack:"))
        try:
            with Path(path).open(encoding="utf-8") as file:
                content = file.read(_LARGEST + 1)
        except OSError as error:
            raise StorageError(f"Cannot read the policy {path}: {error.strerror}. Check the path, or use pack:ecs") from error
        except UnicodeDecodeError:
            raise ConfigError(f"Expected the policy {path} as UTF-8 text.") from None
        return cls.parse(content, name=str(path))

    @classmethod
    def pack(cls, name: str) -> SourcePolicy:
        """A policy that comes with Tacit, one of `PACKS`.

        Raises:
            ConfigError: there is none of that name.
        """
        if name not in PACKS:
            raise ConfigError(f"Expected a pack out of {', '.join(PACKS)}; got «{name}».")
        return cls.parse(files("tacit.logs.policies").joinpath("packs", f"{name}.yaml").read_text(encoding="utf-8"), name=f"pack:{name}")

    @classmethod
    def parse(cls, text: str, *, name: str = "policy") -> SourcePolicy:
        """Read a policy from YAML.

        Raises:
            ConfigError: it is none; the message names the place.
        """
        if len(text) > _LARGEST:
            raise ConfigError(f"Expected the policy {name} to have at most {_LARGEST:,} characters.")
        try:
            data = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader that also refuses duplicate keys
        except (yaml.YAMLError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            where = "" if mark is None else f" in line {mark.line + 1}"
            problem = getattr(error, "problem", None) or "too deep"
            raise ConfigError(f"Expected the policy {name} as YAML; it cannot be read{where}: {problem}.") from None
        _check(data, name)
        known = data.get("known", {})
        rules = {path: _rule(path, value) for path, value in data["fields"].items()}
        policy = cls(
            data["source"], data["format"], rules, data.get("unknown", "drop"), data.get("time"), data.get("entity"), data.get("unit"),
            tuple(known.get("accounts", ())), tuple(known.get("domains", ())), tuple(known.get("networks", ())),
        )
        _check_rules(policy, name)
        return policy

    def statement(self) -> Iterator[tuple[str, str, str, str]]:
        """For people: path, treatment, what it leaves of the field, and why."""
        for path, rule in self.fields.items():
            yield path, rule.treatment, rule.promise, rule.why

    def epsilon_per_unit_day(self) -> float:
        """What one unit's day costs at most over all fields under local differential privacy; 0 if none is."""
        rules = [rule for rule in self.fields.values() if rule.treatment == "randomise"]
        return sum(float(rule.options["epsilon"]) * int(rule.options.get("events_per_day", 100)) for rule in rules)

    def to_yaml(self) -> str:
        """The policy as a file that `parse` reads."""
        known = {name: list(values) for name in ("accounts", "domains", "networks") if (values := getattr(self, name))}
        head = {"version": 1, "source": self.source, "format": self.format, "unknown": self.unknown}
        head |= {name: value for name in ("time", "entity", "unit") if (value := getattr(self, name))} | ({"known": known} if known else {})
        body = {path: _plain(rule) for path, rule in self.fields.items()}
        return str(yaml.safe_dump(head | {"fields": body}, sort_keys=False, allow_unicode=True, width=150))


class _Loader(yaml.SafeLoader):
    """YAML without duplicate keys: the second would silently replace the first."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        names = Counter(key.value for key, _ in node.value)
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"the key «{str(twice[0])[:60]}» stands there twice", node.start_mark)
        return dict(super().construct_mapping(node, deep=deep))


@cache
def _schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files("tacit.logs.policies").joinpath("schema.json").read_text(encoding="utf-8"))
    found["properties"]["fields"]["additionalProperties"]["oneOf"][0]["enum"] = sorted(TREATMENTS)
    return found


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a policy, for editors and other tools."""
    return json.loads(json.dumps(_schema()))  # type: ignore[no-any-return]


def _check(data: Any, name: str) -> None:
    import jsonschema

    errors = sorted(jsonschema.Draft202012Validator(_schema()).iter_errors(data), key=lambda error: list(map(str, error.path)))
    if errors:
        place = ".".join(map(str, errors[0].absolute_path)) or "the top"
        message = errors[0].schema.get("description") if isinstance(errors[0].schema, dict) else None
        raise ConfigError(f"The policy {name} is wrong at «{place[:120]}»: expected {message or errors[0].message[:160]}.")


def _rule(path: str, value: Any) -> FieldRule:
    if isinstance(value, str):
        return FieldRule(path, value)
    options = {key: item for key, item in value.items() if key not in ("treatment", "why")}
    return FieldRule(path, value["treatment"], options, value.get("why", ""))


def _check_rules(policy: SourcePolicy, name: str) -> None:
    for path, rule in policy.fields.items():
        if rule.treatment not in TREATMENTS:
            known = ", ".join(sorted(TREATMENTS))
            raise ConfigError(f"The policy {name}, field «{path}»: expected a treatment out of {known}; got «{rule.treatment}».")
        needs = {"jitter": ("entity",), "suppress": ("unit",), "randomise": ("unit", "time")}.get(rule.treatment, ())
        missing = [need for need in needs if getattr(policy, need) is None]
        if missing:
            raise ConfigError(f"The policy {name}, field «{path}»: «{rule.treatment}» needs «{missing[0]}: PATH» at the top of the policy.")
        if "**" in path and not path.endswith("**"):
            raise ConfigError(f"The policy {name}, field «{path}»: expected «**» only at the end of a path.")


def _plain(rule: FieldRule) -> Any:
    if not rule.options and not rule.why:
        return rule.treatment
    return {"treatment": rule.treatment, **rule.options} | ({"why": rule.why} if rule.why else {})


_PACKS = files("tacit.logs.policies").joinpath("packs")
PACKS = tuple(sorted(entry.name.removesuffix(".yaml") for entry in _PACKS.iterdir() if entry.name.endswith(".yaml")))
"""Policies that come with Tacit, one per format."""
