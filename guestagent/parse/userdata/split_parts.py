"""Splits a document of user data into its parts, in the formats that cloud-init knows.

The type of a part is that of its media type; where that is vague, its first line decides.
Everything is counted before it is expanded.  Two things differ from cloud-init: white space before
``#!`` is dropped, because the kernel would not run the script, and what begins like a script is
never taken for a MIME message.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError, Origin, Problems
from guestagent.model import Part
from guestagent.parse.userdata import part_types
from guestagent.parse.userdata.part_types import Item
from guestagent.parse.userdata.unpack import TookTooLong, TooMuch, Unpacker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Literal

    from guestagent.parse.userdata.mime import Entity
    from guestagent.parse.userdata.signatures import Rule

    ScriptKind = Literal["script", "boothook", "per-boot", "per-instance", "per-once"]

_SCRIPT_KINDS: Mapping[str, ScriptKind] = {
    "script": "script",
    "boothook": "boothook",
    "per-boot": "per-boot",
    "per-instance": "per-instance",
    "per-once": "per-once",
}
_NO_INTERPRETER = "has no interpreter line: begin it with #!, as in #!/bin/sh"
_LAUNCH_INDEX = "has a launch index, which has no effect on OpenStack; every instance uses the part"
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_NAME_LIMIT = 64


def split(
    content: bytes,
    origin: Origin,
    problems: Problems,
    variables: Callable[[], Mapping[str, Any]] = dict,
    rule: Rule | None = None,
) -> list[Part]:
    """Return the parts of a document, in their order; none of a document that exceeds a limit.

    ``origin`` is that of the document; its key, if it has one, leads to the document in a larger
    one.  A part that cannot be used is a problem, and the others count.  ``variables`` gives those
    of templates, if there is one to render.  ``rule`` says what must be signed; None: nothing.
    """
    splitter = _Splitter(origin, variables, rule)
    try:
        splitter.split_document(content)
    except TooMuch as error:
        problems.error(origin, str(error))
        problems.passing |= isinstance(error, TookTooLong)
        return []
    splitter.leave_out_heat()
    problems.add_all(splitter.problems)
    return splitter.parts


class _Splitter:
    """Walks through one document and collects its parts.

    Methods are given the ``label`` of the piece that they look at, which tells people where it is:
    ``part 3``, or empty for a document that is one part.
    """

    def __init__(
        self,
        origin: Origin,
        variables: Callable[[], Mapping[str, Any]],
        rule: Rule | None,
    ) -> None:
        self.origin = origin
        self.variables = variables
        self.rule = rule
        self.unsigned = rule is not None  # until what a signature covers is read
        self.parts: list[Part] = []
        self.problems = Problems()
        self.unpacker = Unpacker()
        self.number = 0  # of parts so far, without those that only hold others
        self.pieces = 0  # so far, with those that only hold others
        self.is_heat = False
        self.heat_files: list[str] = []  # keys of parts that Heat adds for cloud-init

    def split_document(self, content: bytes) -> None:
        """Collect the parts of a whole document.  Raises TooMuch."""
        if len(content) > defs.USER_DATA_LIMIT:
            raise TooMuch(f"is larger than {defs.USER_DATA_LIMIT >> 20} MiB")
        self._check_signature_beside(content)
        try:
            content = self.unpacker.document(content)
        except FieldError as error:
            self._error("", str(error))
            return
        if not content.strip():
            return
        if self.rule is not None and self.rule.policy == "required" and self.unsigned:
            # Nothing of the document is looked at but whether it is signed as a whole.
            try:
                self.rule.check_whole(content.lstrip())
            except FieldError as error:
                self._error("", str(error))
                return
        # A script may contain lines that look like the header of a message.
        if part_types.type_by_marker(content) is None:
            from guestagent.parse.userdata import mime

            message = content.lstrip()
            if mime.is_message(message):
                self._split_message(message, "", depth=1)
                return
        self._take_item(Item("", "", content, {}), "", depth=1)

    def _check_signature_beside(self, document: bytes) -> None:
        """Tell whether all of the document is signed by what is beside it, if that is demanded."""
        if self.rule is None or self.rule.beside is None:
            return
        try:
            self.rule.check_beside(document, self.rule.beside, self._origin(""))
        except FieldError as error:
            self._error("", str(error))
            self.problems.passing |= error.passing
        else:
            self.unsigned = False

    def leave_out_heat(self) -> None:
        """Leave out what Heat adds for cloud-init alone, which is no error.

        Without a part of ``part_types.HEAT_TYPE`` the document is not Heat's.
        """
        if not self.is_heat:
            return
        self.parts = [part for part in self.parts if part.origin.key not in self.heat_files]
        told = [item for item in self.problems.problems if item.key not in self.heat_files]
        passing = self.problems.passing
        self.problems = Problems()
        self.problems.passing = passing
        self.problems.add(*told)
        for key in self.heat_files:
            self.problems.warn(self.origin._replace(key=key), part_types.HEAT_REASON)

    def _origin(self, label: str) -> Origin:
        if not label:
            return self.origin
        if not self.origin.key:
            return self.origin._replace(key=label)
        return self.origin._replace(key=f"{self.origin.key}: {label}")

    def _error(self, label: str, reason: str) -> None:
        self.problems.error(self._origin(label), reason)

    def _warn(self, label: str, reason: str) -> None:
        self.problems.warn(self._origin(label), reason)

    def _label(self, file_name: str) -> str:
        """Return the label of the part that was counted last."""
        name = _safe_name(file_name)
        return f'part {self.number} "{name}"' if name else f"part {self.number}"

    def _count_piece(self) -> None:
        # What only holds others counts as well: thousands of empty multiparts cost time, too.
        self.pieces += 1
        if self.pieces > defs.MAX_PARTS:
            raise TooMuch(f"has more than {defs.MAX_PARTS} parts")

    def _split_message(self, raw: bytes, label: str, depth: int) -> None:
        """Take a MIME message, or a part of one, which may be a message again."""
        from guestagent.parse.userdata import mime

        file_name = ""
        try:
            entity = mime.read_entity(raw)
            if entity.type.startswith("multipart/"):
                self._split_multipart(entity, label, depth)
                return
            file_name = entity.file_name
            item = Item(entity.type, file_name, mime.decode_body(entity), entity.headers)
        except FieldError as error:
            self.number += 1
            self._error(self._label(file_name) if label else "", str(error))
            self.problems.passing |= error.passing
            return
        self._take_item(item, label, depth)

    def _split_multipart(self, entity: Entity, label: str, depth: int) -> None:
        from guestagent.parse.userdata import mime

        _check_depth(depth)
        bodies, is_closed = mime.split_bodies(entity, defs.MAX_PARTS)
        if not is_closed:
            self._warn(label, "has no closing boundary: its end may be missing")
        if entity.type == "multipart/signed":
            self._split_signed(bodies, label, depth)
            return
        for body in bodies:
            self._count_piece()
            self._split_message(body, f"part {self.number + 1}", depth + 1)

    def _split_signed(self, bodies: list[bytes], label: str, depth: int) -> None:
        """Take what is signed, once its signature is verified.  Raises FieldError, TooMuch."""
        from guestagent.parse.userdata import signatures

        if self.rule is None:
            self._warn(label, signatures.NOT_CHECKED)
            content, _ = signatures.divide(bodies)
        else:
            content = self.rule.open(bodies, self._origin(label))
        self._count_piece()
        outside, self.unsigned = self.unsigned, False
        try:
            self._split_message(content, label, depth + 1)
        finally:
            self.unsigned = outside

    def _split_archive(self, content: bytes, depth: int) -> None:
        from guestagent.parse.userdata import archive

        _check_depth(depth)
        entries = archive.load_entries(content)
        self.number -= 1  # its entries are parts, the archive itself is not
        for entry in entries:
            self._count_piece()
            label = f"part {self.number + 1}"
            try:
                item = archive.read_entry(entry)
            except FieldError as error:
                self.number += 1
                self._error(label, str(error))
                continue
            # An entry may be an alias of a long one, which takes no room in the archive.
            self.unpacker.count(len(item.content))
            self._take_item(item, label, depth + 1)

    def _take_item(self, item: Item, label: str, depth: int) -> None:
        """Take an item that is a part, or an archive of parts."""
        self.number += 1
        if label:
            label = self._label(item.file_name)
        try:
            # A whole document has been unpacked before. Once more does no harm.
            item = item._replace(content=self.unpacker.part(item.content))
            if not item.content.strip():
                self._warn(label, "is empty and ignored")
                return
            part_type = part_types.type_of(item)
            if self.rule is not None and self.unsigned:
                self.rule.check_unsigned(part_type)
            if item.media_type == part_types.HEAT_TYPE:
                self.is_heat = True
            elif item.file_name in part_types.HEAT_FILES:
                self.heat_files.append(self._origin(label).key)
            if part_type == "template":
                item, label = self._render(item, label)
                part_type = part_types.type_of(item)
            if not item.content.strip():
                self._warn(label, "is empty when it is rendered, and ignored")
                return
            if part_type == "archive":
                self._split_archive(item.content, depth)
                return
            part = self._part(part_type, item, label)
        except FieldError as error:
            self._error(label, str(error))
            self.problems.passing |= error.passing
            return
        if "launch-index" in item.headers:
            self._warn(label, _LAUNCH_INDEX)
        self.parts.append(part)

    def _render(self, item: Item, label: str) -> tuple[Item, str]:
        """Return what a template becomes, and its label.  Raises FieldError, TooMuch."""
        from guestagent.parse.userdata.templates import render

        content, warnings = render(item.content, self._variables)
        self.unpacker.count(len(content))
        for warning in warnings:
            self._warn(label, warning)
        if content.count(b"\n") != item.content.count(b"\n"):
            # Lines and columns in further messages are not those that were written.
            label = f"{label}, rendered" if label else "the rendered text"
        # What it has become decides what it is, unless its media type does.
        is_vague = item.media_type == part_types.TEMPLATE_TYPE
        return item._replace(content=content, media_type="" if is_vague else item.media_type), label

    def _variables(self) -> Mapping[str, Any]:
        """Return the variables of a template: where signatures are demanded, plain words alone."""
        if self.rule is None:
            return self.variables()
        from guestagent.parse.userdata.variables import plain_words

        words: dict[str, Any] = plain_words(self.variables())
        return words

    def _part(self, part_type: str, item: Item, label: str) -> Part:
        """Return the part that an item is.  Raises FieldError if it cannot be used."""
        name = self._unique_name(_safe_name(item.file_name) or f"part-{self.number:03}")
        if part_type == "cloud-config":
            merge_type = item.headers.get("merge-type") or item.headers.get("x-merge-type") or ""
            return Part(
                kind="cloud-config",
                name=name,
                content=item.content,
                origin=self._origin(label),
                merge_type=merge_type,
                unsigned=self.unsigned,
            )
        if part_type == "heat":
            return Part(kind="heat", name=name, content=item.content, origin=self._origin(label))
        if part_type == "include":
            return Part(kind="include", name=name, content=item.content, origin=self._origin(label))
        kind = _SCRIPT_KINDS.get(part_type)
        if kind is None:
            raise FieldError(part_types.REASONS[part_type])
        content = _script(item.content, kind)
        return Part(kind=kind, name=name, content=content, origin=self._origin(label))

    def _unique_name(self, name: str) -> str:
        taken = {part.name for part in self.parts}
        unique = name
        number = 1
        while unique in taken:
            number += 1
            unique = f"{name[: _NAME_LIMIT - 3]}-{number:02}"
        return unique


def _check_depth(depth: int) -> None:
    if depth > defs.PART_DEPTH:
        raise FieldError(f"is nested more than {defs.PART_DEPTH} deep")


def _script(content: bytes, kind: str) -> bytes:
    """Return what is to be run.  Raises FieldError if it does not name its interpreter."""
    script = _with_unix_line_ends(content).lstrip()
    # The first line of a boothook is cloud-init's; the interpreter's line comes after it.
    if kind == "boothook" and part_types.type_by_marker(script) == "boothook":
        script = script.partition(b"\n")[2].lstrip()
    if not script.startswith(b"#!"):
        raise FieldError(_NO_INTERPRETER)
    return script


def _with_unix_line_ends(content: bytes) -> bytes:
    """Return the content with LF line ends if its first line ends in CRLF.

    Otherwise a CR is part of a text or of binary data, and stays.
    """
    first_line = content[: content.find(b"\n")]
    if not first_line.endswith(b"\r"):
        return content
    return content.replace(b"\r\n", b"\n")


def _safe_name(file_name: str) -> str:
    """Return the base name of a file name without unsafe characters, which may leave nothing."""
    base = file_name.replace("\\", "/").rpartition("/")[2]
    kept = "".join(character for character in base if character in _NAME_CHARACTERS)
    return kept.lstrip(".-")[:_NAME_LIMIT]
