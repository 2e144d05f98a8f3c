"""Every error that `extract` raises on purpose.

    HeadstartError                    one line on stderr, exit status 1
    ├── InputError (ValueError)       the data set or an option cannot be used as given
    │   └── ScaleError                images were divided by 255 already
    ├── BackboneError (ValueError)    the backbone or its weights cannot be had
    ├── ClusterError (RuntimeError)   the machines of a cluster cannot do the work
    ├── ImageError (ValueError)       one image is bad: its stage and reason go to bad_images.csv
    ├── FeatureError (ArithmeticError) a good image gave NaN or infinity
    ├── BucketError                   a bucket did not answer, or refused
    └── StoreError
        ├── StaleStoreError           the store was made with another recipe
        ├── ChangedStoreError         another command sealed a snapshot meanwhile
        ├── DamagedStoreError         what is on disk is not what was sealed
        ├── StoreFormatError          a newer or foreign format
        └── StoreWriteError (OSError) the disk refused; what was sealed before is untouched

Anything else that escapes is a bug of ours and keeps its traceback. Each message says what
arrived, what was expected, and what to type next.
"""


class HeadstartError(Exception):
    """Base of every deliberate error; the command line prints it as one line."""


class InputError(HeadstartError, ValueError):
    """The data set, or an option, cannot be used as given."""


class ScaleError(InputError):
    """Images were divided by 255 before they were saved."""


class BackboneError(HeadstartError, ValueError):
    """The backbone is unknown, its weights are missing, or it cannot run here."""


class ClusterError(HeadstartError, RuntimeError):
    """The machines of a cluster cannot do the work, or do not go on."""


class ImageError(HeadstartError, ValueError):
    """One image cannot be used.

    Args:
        stage: Where it failed: "read", "header" or "decode".
        reason: One line for `bad_images.csv`.
    """

    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(stage, reason)
        self.stage, self.reason = stage, reason

    def __str__(self) -> str:
        return f"{self.stage}: {self.reason}"


class FeatureError(HeadstartError, ArithmeticError):
    """A good image gave a feature that is NaN or infinite."""


class BucketError(HeadstartError):
    """A bucket did not answer, or refused; it says nothing of what is in it.

    So it is neither an `OSError` nor a `StoreError`: nothing is taken for damaged, missing or
    unreadable because a network was down.
    """


class StoreError(HeadstartError):
    """Base of what can be wrong with a store."""


class StaleStoreError(StoreError, ValueError):
    """The store was made with another recipe.

    Args:
        store: The store's folder.
        field: First field of the recipe that differs, such as "weights_digest".
        stored: Its value in the store.
        wanted: Its value in this run.
    """

    def __init__(self, store: str, field: str, stored: object, wanted: object) -> None:
        super().__init__(store, field, stored, wanted)
        self.store, self.field, self.stored, self.wanted = store, field, stored, wanted

    def __str__(self) -> str:
        wanted = "the default" if self.wanted is None else repr(self.wanted)
        return (
            f"{self.store} holds features made with {self.field}={self.stored!r}, but this run "
            f"asks for {wanted}. Ask for the stored value, or give another folder with "
            f"--store."
        )


class ChangedStoreError(StoreError):
    """The newest snapshot is no longer the one that the work began from; nothing was sealed."""

    def __init__(self, number: int) -> None:
        super().__init__(
            f"The store was changed meanwhile (snapshot {number}): run the same command again, "
            f"nothing is lost"
        )
        self.number = number


class DamagedStoreError(StoreError):
    """A file of the store is missing, short, altered or foreign."""


class StoreFormatError(StoreError, ValueError):
    """The store needs a newer headstart, or is not a store."""


class StoreWriteError(StoreError, OSError):
    """The disk refused a write; everything sealed before it is as it was."""
