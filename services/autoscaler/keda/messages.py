"""The messages of externalscaler.proto, made when they are imported: nothing is generated, so nothing
generated has to fit the installed protobuf.
"""

from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

PACKAGE = "externalscaler"
SERVICE = f"{PACKAGE}.ExternalScaler"

# Per message its fields in the order of their numbers; a type that is none of _TYPES is a message.
FIELDS: dict[str, tuple[tuple[str, str], ...]] = {
    "ScaledObjectRef": (
        ("string", "name"),
        ("string", "namespace"),
        ("map<string, string>", "scalerMetadata"),
    ),
    "IsActiveResponse": (("bool", "result"),),
    "GetMetricSpecResponse": (("repeated MetricSpec", "metricSpecs"),),
    "MetricSpec": (
        ("string", "metricName"),
        ("int64", "targetSize"),
        ("double", "targetSizeFloat"),
    ),
    "GetMetricsRequest": (("ScaledObjectRef", "scaledObjectRef"), ("string", "metricName")),
    "GetMetricsResponse": (("repeated MetricValue", "metricValues"),),
    "MetricValue": (
        ("string", "metricName"),
        ("int64", "metricValue"),
        ("double", "metricValueFloat"),
    ),
}

_TYPES = {
    "string": FieldDescriptorProto.TYPE_STRING,
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "double": FieldDescriptorProto.TYPE_DOUBLE,
}
_MAP = "map<string, string>"


def _file() -> FileDescriptorProto:
    file = FileDescriptorProto(name="externalscaler.proto", package=PACKAGE, syntax="proto3")
    for message, fields in FIELDS.items():
        described = file.message_type.add(name=message)
        for number, (kind, name) in enumerate(fields, start=1):
            _add_field(described, kind, name, number)
    return file


def _add_field(message: DescriptorProto, kind: str, name: str, number: int) -> None:
    repeated = kind.startswith("repeated ") or kind == _MAP
    kind = kind.removeprefix("repeated ")
    label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
    field = message.field.add(name=name, number=number, label=label)
    if kind in _TYPES:
        field.type = _TYPES[kind]
        return
    field.type = FieldDescriptorProto.TYPE_MESSAGE
    if kind == _MAP:
        kind = f"{message.name}.{_entry_of(message, name)}"
    field.type_name = f".{PACKAGE}.{kind}"


def _entry_of(message: DescriptorProto, name: str) -> str:
    """The nested message that a map is in protobuf's own terms."""
    entry = message.nested_type.add(name=f"{name[0].upper()}{name[1:]}Entry")
    entry.options.map_entry = True
    for number, part in enumerate(("key", "value"), start=1):
        _add_field(entry, "string", part, number)
    return entry.name


_POOL = DescriptorPool()
_POOL.Add(_file())


def _message(name: str) -> Any:
    return GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))


ScaledObjectRef = _message("ScaledObjectRef")
IsActiveResponse = _message("IsActiveResponse")
GetMetricSpecResponse = _message("GetMetricSpecResponse")
MetricSpec = _message("MetricSpec")
GetMetricsRequest = _message("GetMetricsRequest")
GetMetricsResponse = _message("GetMetricsResponse")
MetricValue = _message("MetricValue")
