"""A NamedTuple that costs no import.

``typing.NamedTuple`` brings in ``typing`` and with it ``re`` and ``collections``: more
CPU time than the interpreter's own start.  Type checkers see the real one; at run time
this base class gives the part of its behaviour the records here use: immutable tuples
with named fields, defaults, keyword arguments, ``_fields``, ``_replace`` and ``_asdict``.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:
    from sys import intern

    # All records share these: one property for each index of a field.
    _GETTERS = []
    _MISSING = object()  # the default of a field that has none

    def _getter(index):
        return property(lambda self: self[index])

    class _RecordType(type):
        def __new__(mcs, name, bases, namespace):
            if not bases:
                return super().__new__(mcs, name, bases, namespace)
            fields = tuple(map(intern, namespace.get("__annotations__", ())))
            defaults = [namespace.get(field, _MISSING) for field in fields]
            for index in range(len(_GETTERS), len(fields)):
                _GETTERS.append(_getter(index))
            namespace.update(zip(fields, _GETTERS, strict=False))
            namespace["_fields"] = fields
            namespace["_places"] = dict(zip(fields, range(len(fields)), strict=True))
            namespace["_defaults"] = tuple(defaults)
            namespace["__slots__"] = ()
            return super().__new__(mcs, name, (tuple,), _METHODS | namespace)

    def _new(cls, *args, **kwargs):
        if kwargs or len(args) != len(cls._fields):
            args = _arrange(cls, args, kwargs)
        return tuple.__new__(cls, args)

    def _arrange(cls, args, kwargs):
        values = [*args, *cls._defaults[len(args) :]]
        if len(values) > len(cls._fields):
            raise TypeError(f"{cls.__name__}: more values than {cls._fields}")
        for field, value in kwargs.items():
            place = cls._places.get(field, -1)
            if place < len(args):
                raise TypeError(f"{cls.__name__}: unknown, or given twice: {field}")
            values[place] = value
        if _MISSING in values:
            raise TypeError(f"{cls.__name__}: missing: {cls._fields[values.index(_MISSING)]}")
        return values

    def _asdict(self):
        return dict(zip(self._fields, self, strict=True))

    def _replace(self, **changes):
        values = list(self)
        for field, value in changes.items():
            place = self._places.get(field)
            if place is None:
                raise TypeError(f"{type(self).__name__}: unknown: {field}")
            values[place] = value
        return tuple.__new__(type(self), values)

    def _repr(self):
        inner = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
        return f"{type(self).__name__}({inner})"

    _METHODS = {"__new__": _new, "_asdict": _asdict, "_replace": _replace, "__repr__": _repr}

    class NamedTuple(metaclass=_RecordType):
        """Base of all records; see the module's text."""
