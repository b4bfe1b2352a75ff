"""Modules whose tensors come from a fit, with shapes known only then."""

from collections.abc import Mapping

from torch import Tensor, nn


class FittedModule(nn.Module):
    """Base of uncertainties and calibrators: every fitted tensor is a buffer.

    A buffer is registered empty by the constructor and replaced by ``fit``, so that the state of
    a module says all that it has learnt.
    """

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take buffers from a state that ``state_dict`` gave, whatever their shapes.

        Raises
        ------
        KeyError
            If the state lacks a buffer, or names one that this module has not.
        """
        own = dict(self.named_buffers())
        if set(own) != set(state):
            raise KeyError(
                f"{type(self).__name__} keeps {', '.join(sorted(own)) or 'nothing'} but the state "
                f"holds {', '.join(sorted(state)) or 'nothing'}"
            )
        for name, value in state.items():
            folder, _, last = name.rpartition(".")
            setattr(self.get_submodule(folder), last, value.detach().clone())
