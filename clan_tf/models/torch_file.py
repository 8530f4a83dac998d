"""Reading the tensors of a PyTorch state dict in the legacy format, without PyTorch and without running anything.

`torch.save` before 1.6 wrote five pickles and the raw storages. A pickle is a program for a stack machine that may call
any function; this reader's machine knows numbers, texts, containers and tensors, and refuses everything else.
"""

import pickletools
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from math import prod
from typing import Any

import numpy as np

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_DTYPES = {"torch FloatStorage": "<f4", "torch LongStorage": "<i8"}
_MARK = object()


@dataclass(frozen=True)
class _Global:
    """The name of a Python object, which is never looked up."""

    name: str


@dataclass(frozen=True)
class _Storage:
    """A tensor's memory, which follows after the pickles."""

    key: str
    dtype: str
    size: int


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage; offset and strides count elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_state_dict(content: bytes) -> dict[str, np.ndarray]:
    """Reads the tensors of a state dict by name, in their order.

    Args:
        content: of a file that `torch.save` of PyTorch before 1.6 wrote; later ones are ZIP files.

    Raises:
        ValueError: if it isn't such a file, is cut short, or holds anything but float32 and int64 tensors.
    """
    file = BytesIO(content)
    magic, protocol, _, tensors, keys = (_unpickle(file) for _ in range(5))
    if (magic, protocol) != (_MAGIC, _PROTOCOL):
        raise ValueError("not a PyTorch file in the legacy format")
    if not isinstance(tensors, dict) or not all(isinstance(tensor, _Tensor) for tensor in tensors.values()):
        raise ValueError("it holds something else than tensors by name")
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    are_texts = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not are_texts or sorted(keys) != sorted(storages):
        raise ValueError("its list of storages doesn't match its tensors")
    arrays = {key: _read_storage(file, storages[key]) for key in keys}
    return {name: _view(tensor, arrays[tensor.storage.key]) for name, tensor in tensors.items()}


def _read_storage(file: BytesIO, storage: _Storage) -> np.ndarray:
    dtype = np.dtype(storage.dtype)
    header = file.read(8)
    if len(header) != 8 or struct.unpack("<q", header) != (storage.size,):
        raise ValueError(f"the size of storage {storage.key} doesn't match its tensor")
    length = storage.size * dtype.itemsize
    if not 0 <= length <= len(file.getbuffer()) - file.tell():
        raise ValueError("the file is cut short")
    return np.frombuffer(file.read(length), dtype)


def _view(tensor: _Tensor, values: np.ndarray) -> np.ndarray:
    last = tensor.offset + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
    if 0 in tensor.shape or max(last + 1, prod(tensor.shape)) > len(values):
        raise ValueError("a tensor reaches beyond its storage")
    strides = [stride * values.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(values[tensor.offset :], tensor.shape, strides, writeable=False)


def _unpickle(file: BytesIO) -> Any:
    """Interprets one pickle of plain values and tensors.

    Raises:
        ValueError: for any other operation, or a damaged pickle.
    """
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    for name, argument in _operations(file):
        if name == "STOP":
            return _popped(stack)
        if name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1] if stack else None
        elif name in ("BINGET", "LONG_BINGET"):
            if argument not in memo:
                raise ValueError("a damaged pickle")
            stack.append(memo[argument])
        elif name in _PUSHED:
            stack.append(_PUSHED[name](argument))
        elif name in _REDUCED:
            _REDUCED[name](stack)
        elif name != "PROTO":
            raise ValueError(f"its pickle has the operation {name}, which isn't one of plain tensors")
    raise ValueError("a damaged pickle")


def _operations(file: BytesIO) -> Iterator[tuple[str, Any]]:
    try:
        for operation, argument, _ in pickletools.genops(file):
            yield operation.name, argument
    except ValueError as error:
        raise ValueError(f"a damaged pickle: {error}") from error


def _popped(stack: list[Any], kind: type | tuple[type, ...] = object) -> Any:
    if not stack or not isinstance(stack[-1], kind):
        raise ValueError("a damaged pickle")
    return stack.pop()


def _since_mark(stack: list[Any]) -> list[Any]:
    """Removes everything down to the last mark, and returns it in its order."""
    items: list[Any] = []
    while (item := _popped(stack)) is not _MARK:
        items.append(item)
    return items[::-1]


def _put_items(stack: list[Any], items: list[Any]) -> None:
    are_texts = all(isinstance(key, str) for key in items[::2])
    if len(items) % 2 or not are_texts or not stack or not isinstance(stack[-1], dict):
        raise ValueError("a damaged pickle")
    stack[-1].update(zip(items[::2], items[1::2], strict=True))


def _put_item(stack: list[Any]) -> None:
    value, key = _popped(stack), _popped(stack)
    _put_items(stack, [key, value])


def _append_items(stack: list[Any]) -> None:
    items = _since_mark(stack)
    stack.append([*_popped(stack, list), *items])


def _make_tuple(size: int | None) -> Callable[[list[Any]], None]:
    def make(stack: list[Any]) -> None:
        items = _since_mark(stack) if size is None else [_popped(stack) for _ in range(size)][::-1]
        stack.append(tuple(items))

    return make


def _call(stack: list[Any]) -> None:
    """Makes what a pickle calls for: an ordered dict, or a tensor."""
    arguments, function = _popped(stack, tuple), _popped(stack, _Global)
    if function.name == "collections OrderedDict" and not arguments:
        stack.append({})
    elif function.name == "torch._utils _rebuild_tensor_v2" and len(arguments) == 6:
        stack.append(_tensor(*arguments[:4]))
    else:
        raise ValueError(f"its pickle calls {function.name}")


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> _Tensor:
    is_shaped = isinstance(shape, tuple) and isinstance(strides, tuple) and len(shape) == len(strides)
    sizes = (offset, *shape, *strides) if is_shaped else (None,)
    if not isinstance(storage, _Storage) or not all(isinstance(n, int) and 0 <= n <= storage.size for n in sizes):
        raise ValueError("a damaged tensor")
    return _Tensor(storage, offset, shape, strides)


def _name_storage(stack: list[Any]) -> None:
    """Makes a storage from `("storage", type, key, device, size, view)`."""
    described = _popped(stack, tuple)
    kind, type_, key, _, size = described[:5] if len(described) == 6 else (None,) * 5
    if kind != "storage" or not isinstance(type_, _Global) or not isinstance(key, str) or not isinstance(size, int):
        raise ValueError("a damaged storage")
    if type_.name not in _DTYPES:
        raise ValueError(f"a storage of type {type_.name}; {' and '.join(_DTYPES)} are read")
    stack.append(_Storage(key, _DTYPES[type_.name], size))


def _set_state(stack: list[Any]) -> None:
    """Discards the attributes of the ordered dict: versions of PyTorch's modules."""
    _popped(stack, dict)
    if not stack or not isinstance(stack[-1], dict):
        raise ValueError("a damaged pickle")


_PUSHED: Mapping[str, Callable[[Any], Any]] = {
    "MARK": lambda _: _MARK,
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "EMPTY_DICT": lambda _: {},
    "EMPTY_LIST": lambda _: [],
    "EMPTY_TUPLE": lambda _: (),
    "GLOBAL": _Global,
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE"), lambda value: value),
}
_REDUCED: Mapping[str, Callable[[list[Any]], None]] = {
    "TUPLE": _make_tuple(None),
    "TUPLE1": _make_tuple(1),
    "TUPLE2": _make_tuple(2),
    "TUPLE3": _make_tuple(3),
    "SETITEM": _put_item,
    "SETITEMS": lambda stack: _put_items(stack, _since_mark(stack)),
    "APPENDS": _append_items,
    "REDUCE": _call,
    "BINPERSID": _name_storage,
    "BUILD": _set_state,
}
