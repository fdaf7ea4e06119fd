"""The metadata block of a README, and what the Hub finds wrong with it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from tests.hubserver import vocabulary

_BLOCK = re.compile(r"^\s*---[\r\n]+(.*?)[\r\n]+---(?:\r?\n|$)", re.DOTALL)
_REPO_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?")
_LANGUAGE = re.compile(r"[a-z]{2,3}")


@dataclass
class Problems:
    """What keeps a card out (`errors`) and what is only said (`warnings`)."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class _Loader(yaml.SafeLoader):
    """YAML as the Hub reads it: a key that stands twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.MarkedYAMLError(problem=f"duplicated mapping key {key!r}", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


def metadata(readme: str) -> dict[str, Any]:
    """The metadata of a card; empty where there is none or it cannot be read."""
    block = _BLOCK.match(readme)
    try:
        data = yaml.load(block.group(1), _Loader) if block else None
    except yaml.YAMLError:
        data = None
    return data if isinstance(data, dict) else {}


def problems(readme: str, repo_type: str) -> Problems:
    """What the Hub says about the card of a model, dataset or space."""
    found = Problems()
    block = _BLOCK.match(readme)
    if block is None:
        found.warnings.append("empty or missing yaml metadata in repo card")
        return found
    try:
        data = yaml.load(block.group(1), _Loader)
    except yaml.YAMLError as error:
        found.errors.append(f"YAML Metadata Error: {' '.join(str(error).split())}")
        return found
    if not isinstance(data, dict):
        found.errors.append("YAML Metadata Error: the metadata must be a mapping")
        return found
    found.errors.extend(_common(data))
    found.errors.extend(_CHECKS[repo_type](data))
    found.warnings.extend(_unofficial(data))
    return found


def _common(data: Mapping[str, Any]) -> Iterator[str]:
    """Errors that a card of any kind may have."""
    for name in ("license", "language", "tags", "datasets", "base_model", "metrics", "models"):
        if not all(isinstance(value, str) for value in _listed(data.get(name))):
            yield f'"{name}" must be a string or an array of strings'
    if not isinstance(data.get("tags", []), list):
        yield '"tags" must be an array'
    for name in ("library_name", "pipeline_tag", "license_name", "license_link", "title", "pretty_name", "thumbnail"):
        if not isinstance(data.get(name, ""), str):
            yield f'"{name}" must be a string'
    for value in _strings(data.get("license")):
        if value not in vocabulary.LICENSES:
            yield f'"license" must be one of [{", ".join(sorted(vocabulary.LICENSES))}], not {value!r}'
    for value in _strings(data.get("language")):
        if not _LANGUAGE.fullmatch(value) and value not in ("code", "multilingual"):
            yield f'"language" with value "{value}" is not valid. It must be an ISO 639-1, 639-2 or 639-3 code'
    for name in ("datasets", "base_model", "models"):
        for value in _strings(data.get(name)):
            if not _REPO_ID.fullmatch(value):
                yield f'"{name}" with value "{value}" is not valid. Use an id from https://hf.co'


def _model(data: Mapping[str, Any]) -> Iterator[str]:
    relation = data.get("base_model_relation")
    if relation not in (None, *vocabulary.RELATIONS):
        yield f'"base_model_relation" must be one of [{", ".join(vocabulary.RELATIONS)}]'
    index = data.get("model-index")
    if index is None:
        return
    if not isinstance(index, list):
        yield '"model-index" must be an array'
        return
    for number, model in enumerate(index):
        where = f"model-index[{number}]"
        if not isinstance(model, dict) or not isinstance(model.get("name"), str):
            yield f'"{where}.name" is required and must be a string'
        elif not isinstance(model.get("results"), list):
            yield f'"{where}.results" is required and must be an array'
        else:
            for place, result in enumerate(model["results"]):
                yield from _result(result, f"{where}.results[{place}]")


def _result(result: object, where: str) -> Iterator[str]:
    """One entry of `model-index`: a task, a dataset, and metrics with values."""
    if not isinstance(result, dict):
        yield f'"{where}" must be an object'
        return
    for part, names in (("task", ("type",)), ("dataset", ("type", "name"))):
        content = result.get(part)
        if not isinstance(content, dict):
            yield f'"{where}.{part}" is required and must be an object'
            continue
        yield from (f'"{where}.{part}.{name}" is required' for name in names if not isinstance(content.get(name), str))
    metrics = result.get("metrics")
    if not isinstance(metrics, list) or not metrics:
        yield f'"{where}.metrics" is required and must be an array'
        return
    for number, metric in enumerate(metrics):
        place = f"{where}.metrics[{number}]"
        if not isinstance(metric, dict) or not isinstance(metric.get("type"), str):
            yield f'"{place}.type" is required'
        elif metric.get("value") is None:
            yield f'"{place}.value" is required'
        elif isinstance(metric["value"], float) and not math.isfinite(metric["value"]):
            yield f'"{place}.value" must be a finite number'


def _dataset(data: Mapping[str, Any]) -> Iterator[str]:
    configs = data.get("configs", [])
    if not isinstance(configs, list) or not all(isinstance(config, dict) for config in configs):
        yield '"configs" must be an array of objects'
        return
    names = [config.get("config_name") for config in configs]
    if not all(isinstance(name, str) for name in names):
        yield '"configs[].config_name" is required and must be a string'
    elif len(set(names)) < len(names):
        yield '"configs" has a config_name twice'
    if sum(bool(config.get("default")) for config in configs) > 1:
        yield '"configs" has more than one default'


def _space(data: Mapping[str, Any]) -> Iterator[str]:
    for name in ("colorFrom", "colorTo"):
        if data.get(name) not in (None, *vocabulary.COLORS):
            yield f'"{name}" must be one of [{", ".join(vocabulary.COLORS)}]'
    if data.get("sdk") not in (None, *vocabulary.SDKS):
        yield f'"sdk" must be one of [{", ".join(vocabulary.SDKS)}]'
    for name in ("sdk_version", "python_version", "app_file", "emoji"):
        if not isinstance(data.get(name, ""), str):
            yield f'"{name}" must be a string'
    if len(str(data.get("short_description", ""))) > 60:
        yield '"short_description" length must be less than or equal to 60 characters long'


_CHECKS: dict[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {
    "model": _model,
    "dataset": _dataset,
    "space": _space,
}


def _unofficial(data: Mapping[str, Any]) -> Iterator[str]:
    """Values that the Hub takes but does not know."""
    for name, known in (
        ("pipeline_tag", vocabulary.TASKS),
        ("task_categories", vocabulary.TASKS),
        ("size_categories", vocabulary.SIZES),
    ):
        for value in _strings(data.get(name)):
            if value not in known:
                yield f'The {name} "{value}" is not in the official list: {", ".join(sorted(known))}'


def _listed(value: object) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _strings(value: object) -> list[str]:
    return [each for each in _listed(value) if isinstance(each, str)]
