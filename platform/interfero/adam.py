"""torch's Adam without torch's compiler, for processes that compile nothing."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch


def _undecorated(name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = inspect.unwrap(getattr(torch.optim.Adam, name))
    return found


class Adam(torch.optim.Adam):
    """`torch.optim.Adam`, to the bit.

    torch's own imports its compiler when it is given parameters and in each step, to say what is not
    to be compiled: 900 modules, 2.7 CPU seconds in each process that trains (torch 2.15). Inside
    `torch.compile` use torch's own.
    """

    step = torch.no_grad()(_undecorated("step"))
    add_param_group = _undecorated("add_param_group")
    zero_grad = _undecorated("zero_grad")
    state_dict = _undecorated("state_dict")
    load_state_dict = _undecorated("load_state_dict")
