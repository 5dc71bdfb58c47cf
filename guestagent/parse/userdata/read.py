"""Reads user data and vendor data: from documents to checked settings and scripts.

Each document is unpacked, split into parts, and its cloud-config merged; then the documents are
checked and combined in layers.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError, Origin, Problems, internal
from guestagent.parse.userdata import layers, split_parts, vendor_texts
from guestagent.parse.userdata.layers import Layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from guestagent.model import InstanceData, Part, Setting
    from guestagent.parse.userdata.signatures import Rule, Signatures

    Variables = Callable[[], Mapping[str, Any]]

_NAME_LIMIT = 64
_TOO_MUCH = f"holds more than {defs.MAX_PARTS} parts or {defs.UNPACKED_LIMIT >> 20} MiB in all"

_DOCUMENTS = ("user_data", "vendor_data.json", "vendor_data2.json")


def add(
    data: InstanceData,
    user_data: bytes,
    vendor_data: object = None,
    vendor_data2: object = None,
    *,
    source: str,
    problems: Problems,
    variables: Variables,
    documents: tuple[str, str, str] = _DOCUMENTS,
    signatures: Signatures | None = None,
    signature: bytes | None = None,
) -> InstanceData:
    """Return what a source says, with the settings and scripts that ``read`` finds.

    An error of the program takes them away, and nothing else: one can still log in, and look.
    """
    try:
        config, scripts = read(
            user_data,
            vendor_data,
            vendor_data2,
            source=source,
            problems=problems,
            documents=documents,
            variables=variables,
            signatures=signatures,
            signature=signature,
        )
    except Exception as error:
        reason = f"{internal(error)}; nothing of it is applied"
        problems.error(Origin(source, documents[0], ""), reason)
        problems.passing = True
        return data
    return data._replace(config=config, scripts=scripts)


def read(
    user_data: bytes | None,
    vendor_data: object,
    vendor_data2: object,
    *,
    source: str,
    problems: Problems,
    documents: tuple[str, str, str] = _DOCUMENTS,
    variables: Variables = dict,
    signatures: Signatures | None = None,
    signature: bytes | None = None,
) -> tuple[tuple[Setting, ...], tuple[Part, ...]]:
    """Return all settings, and all scripts in the order in which they run.

    ``vendor_data`` and ``vendor_data2`` are JSON values, None without the document; ``documents``
    are the names of the three for origins.  User data wins over ``vendor_data2``, and that over
    ``vendor_data``; user data can switch off either.  Scripts of vendor data come first.
    ``variables`` gives those of templates, if there is one to render.  ``signatures`` are those
    that are demanded, if any are; ``signature`` is what is beside the user data, if anything is.

    ``problems`` are added to at the end, so that after an exception there are none.
    """
    origin = Origin(source, documents[0], "")
    texts = [("", user_data)] if user_data else []
    rule = signatures.rule("user-data") if signatures else None
    if rule is not None:
        rule = rule._replace(beside=signature)
    found, scripts = _read_texts(texts, origin, Problems(), variables, rule)
    user_layer = found[0]
    rule = signatures.rule("vendor-data") if signatures else None
    for key, value, document in (
        ("vendor_data2", vendor_data2, documents[2]),
        ("vendor_data", vendor_data, documents[1]),
    ):
        if layers.admits(user_layer.settings.pop(key, None), user_layer.problems):
            vendor_layers, vendor_scripts = _read_vendor_data(
                value, Origin(source, document, ""), variables, rule
            )
            found += vendor_layers
            # As in cloud-init, the provider's scripts come before the user's.
            scripts = vendor_scripts + scripts
    all_problems = Problems()
    settings = layers.combine(found, all_problems)
    problems.add_all(all_problems)
    return settings, tuple(scripts)


def _read_vendor_data(
    value: object, origin: Origin, variables: Variables, rule: Rule | None
) -> tuple[list[Layer], list[Part]]:
    problems = Problems()
    texts = vendor_texts.find_texts(value, origin, problems)
    return _read_texts(texts, origin, problems, variables, rule)


def _read_texts(
    texts: list[tuple[str, bytes]],
    origin: Origin,
    problems: Problems,
    variables: Variables,
    rule: Rule | None,
) -> tuple[list[Layer], list[Part]]:
    """Return the settings and the scripts of the texts of one document.

    ``texts`` come with the paths to them; ``problems`` are those of finding them.  Settings that
    are not signed where that is demanded are a layer of their own: they win over nothing that is
    signed, in whatever order the parts come.
    """
    parts: list[Part] = []
    for path, content in texts:
        place = origin._replace(key=path)
        for part in split_parts.split(content, place, problems, variables, rule):
            parts.append(part._replace(name=_unique_name(part.name, parts)))
        size = sum(len(part.content) for part in parts)
        if len(parts) > defs.MAX_PARTS or size > defs.UNPACKED_LIMIT:
            # Nothing of the document is used, so that its other problems do not matter.
            problems = Problems()
            problems.error(origin, _TOO_MUCH)
            return [Layer({}, problems)], []
    scripts = [part for part in parts if part.kind != "cloud-config"]
    configs = [part for part in parts if part.kind == "cloud-config" and not part.unsigned]
    layers = [Layer(_merge(configs, problems) if configs else {}, problems)]
    unsigned = [part for part in parts if part.unsigned]
    if unsigned:
        from guestagent.parse.userdata.signatures import drop_harmful

        problems = Problems()
        settings = drop_harmful(_merge(unsigned, problems), problems)
        layers.append(Layer(settings, problems, unsigned=True))
    return layers, scripts


def _merge(parts: list[Part], problems: Problems) -> dict[str, Setting]:
    """Return the settings of all parts that are cloud-config."""
    # Where there are only scripts, these are not imported.
    from guestagent.parse.userdata import merge_parts, yamltree

    loaded = []
    nodes = 0
    letters = 0
    for part in parts:
        try:
            tree = yamltree.load(part.content, before=(nodes, letters))
        except FieldError as error:
            problems.error(part.origin, str(error))
            continue
        # The limits are for all parts of a document together.
        nodes += tree.nodes
        letters += tree.letters
        loaded.append(merge_parts.ConfigPart(tree, part.origin, part.merge_type))
    return merge_parts.merge(loaded, problems)


def _unique_name(name: str, others: list[Part]) -> str:
    """Return a name that no other part has.

    Parts without a name of their own are numbered on, because scripts run in the order of names.
    """
    taken = {other.name for other in others}
    number = 0
    unique = name
    while unique in taken:
        number += 1
        stem = name.removeprefix("part-")
        if stem != name and stem.isdecimal():
            unique = f"part-{int(stem) + number:03}"
        else:
            unique = f"{number}-{name}"[:_NAME_LIMIT]
    return unique
