"""What a compiled program is seen to do."""

import re

import jax


def foreign_calls(f, *args):
    """How often each of our targets is called in the compiled program of `f`."""
    text = jax.jit(f).lower(*args).compile().as_text()
    calls = re.findall(r'custom_call_target="jaxmg_(\w+)"', text)
    return {name: calls.count(name) for name in set(calls)}


def has_whole_matrix(text, n, devices):
    """Whether a device has an n x n matrix of doubles, in one shape or other."""
    local = n // devices
    shapes = f"{n},{n}|{devices},{n},{local}|{local},{n},{devices}"
    return re.search(rf"[fc](64|128)\[(\d+,)?({shapes})\]", text) is not None
