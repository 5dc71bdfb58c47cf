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

    def _getter(index):
        return property(lambda self: self[index])

    class _RecordType(type):
        def __new__(mcs, name, bases, namespace):
            if not bases:
                return super().__new__(mcs, name, bases, namespace)
            fields = tuple(map(intern, namespace.get("__annotations__", ())))
            defaults = {field: namespace.pop(field) for field in fields if field in namespace}
            for index in range(len(_GETTERS), len(fields)):
                _GETTERS.append(_getter(index))
            namespace.update(zip(fields, _GETTERS, strict=False))
            namespace["_fields"] = fields
            namespace["_field_defaults"] = defaults
            namespace["__slots__"] = ()
            return super().__new__(mcs, name, (tuple,), _METHODS | namespace)

    def _new(cls, *args, **kwargs):
        if kwargs or len(args) != len(cls._fields):
            args = _arrange(cls, args, kwargs)
        return tuple.__new__(cls, args)

    def _arrange(cls, args, kwargs):
        values = dict(zip(cls._fields, args, strict=False))
        if len(values) < len(args) or not values.keys().isdisjoint(kwargs):
            raise TypeError(f"{cls.__name__}: too many values for {cls._fields}")
        values = cls._field_defaults | values | kwargs
        try:
            args = [values.pop(field) for field in cls._fields]
        except KeyError as error:
            raise TypeError(f"{cls.__name__}: missing: {error.args[0]}") from None
        if values:
            raise TypeError(f"{cls.__name__}: unknown: {', '.join(values)}")
        return args

    def _asdict(self):
        return dict(zip(self._fields, self, strict=True))

    def _replace(self, **changes):
        values = [changes.pop(*item) for item in zip(self._fields, self, strict=True)]
        if changes:
            raise TypeError(f"{type(self).__name__}: unknown: {', '.join(changes)}")
        return tuple.__new__(type(self), values)

    def _repr(self):
        inner = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
        return f"{type(self).__name__}({inner})"

    _METHODS = {"__new__": _new, "_asdict": _asdict, "_replace": _replace, "__repr__": _repr}

    class NamedTuple(metaclass=_RecordType):
        """Base of all records; see the module's text."""
