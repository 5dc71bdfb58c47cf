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

    class _RecordType(type):
        def __new__(mcs, name, bases, namespace):
            if not bases:
                return super().__new__(mcs, name, bases, namespace)
            fields = tuple(intern(field) for field in namespace.get("__annotations__", ()))
            defaults = {field: namespace.pop(field) for field in fields if field in namespace}
            for index, field in enumerate(fields):
                namespace[field] = property(lambda self, index=index: self[index])
            namespace["_fields"] = fields
            namespace["_field_defaults"] = defaults
            namespace["__slots__"] = ()
            return super().__new__(mcs, name, (tuple,), _METHODS | namespace)

    def _new(cls, *args, **kwargs):
        if len(args) == len(cls._fields) and not kwargs:
            return tuple.__new__(cls, args)
        values = dict(zip(cls._fields, args, strict=False))
        if len(values) < len(args) or values.keys() & kwargs.keys():
            raise TypeError(f"{cls.__name__}: too many values for {cls._fields}")
        values = cls._field_defaults | values | kwargs
        if values.keys() != set(cls._fields):
            wrong = sorted(values.keys() ^ set(cls._fields))
            raise TypeError(f"{cls.__name__}: missing or unknown: {', '.join(wrong)}")
        return tuple.__new__(cls, [values[field] for field in cls._fields])

    def _asdict(self):
        return dict(zip(self._fields, self, strict=True))

    def _replace(self, **changes):
        return type(self)(**(self._asdict() | changes))

    def _repr(self):
        inner = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
        return f"{type(self).__name__}({inner})"

    _METHODS = {"__new__": _new, "_asdict": _asdict, "_replace": _replace, "__repr__": _repr}

    class NamedTuple(metaclass=_RecordType):
        """Base of all records; see the module's text."""
