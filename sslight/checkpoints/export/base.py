"""What a format is: whether a backbone fits it, how it is written, and how it is read again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from sslight.backbones.inputs import INPUTS, input_of
from sslight.checkpoints.loaded import LoadedBackbone
from sslight.checkpoints.record import whole


@dataclass(frozen=True)
class Reader:
    """Who reads the files of a format.

    Attributes:
        library: Its name, as Hugging Face's ``library_name``.
        packages: What the check needs to be installed.
        proof: What the check runs, in words.
    """

    library: str
    packages: tuple[str, ...] = ()
    proof: str = ""


class Format:
    """A layout in which a backbone's weights are written."""

    def reader(self, loaded: LoadedBackbone) -> Reader:
        """Say who reads the files of this backbone."""
        raise NotImplementedError

    def refusal(self, loaded: LoadedBackbone) -> str | None:
        """Say why the backbone cannot be written in this format; None if it can."""
        return None

    def write(self, loaded: LoadedBackbone, folder: Path) -> None:
        """Write the file, or files, into ``folder``."""
        raise NotImplementedError

    def usage(self, loaded: LoadedBackbone) -> str:
        """Python code that is run beside the files and shows how to load them."""
        raise NotImplementedError

    def check(self, loaded: LoadedBackbone) -> str:
        """Python code that makes ``model``, a function of images; by default the usage."""
        return self.usage(loaded)


def plain_state(network: nn.Module) -> dict[str, Tensor]:
    """The weights on the CPU, each with memory of its own, without the token of masked training."""
    state = {name: whole(tensor).clone() for name, tensor in network.state_dict().items()}
    return {name: tensor for name, tensor in state.items() if name != "mask_token"}


def other_input(loaded: LoadedBackbone) -> str | None:
    """Say so if the network sees something else than the image, which other libraries do not."""
    what = input_of(loaded.backbone)
    return f"it sees {INPUTS[what].words}, which that library does not compute" if what else None


def difference(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> str | None:
    """Say which names or shapes differ between what is written and what a library expects."""
    missing = sorted(theirs.keys() - ours.keys())
    unknown = sorted(ours.keys() - theirs.keys())
    if missing or unknown:
        named = f"it has no {missing[0]}" if missing else f"it has a {unknown[0]} more"
        return f"{len(missing) + len(unknown)} names differ: {named}"
    for name, tensor in ours.items():
        if tensor.shape != theirs[name].shape:
            return f"{name} is {list(tensor.shape)} here and {list(theirs[name].shape)} there"
    return None


def in_words(arguments: Mapping[str, object]) -> str:
    """Keyword arguments as they follow another argument in a call."""
    return "".join(f", {name}={value!r}" for name, value in arguments.items())
