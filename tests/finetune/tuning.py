"""Fine-tuning in a second or two: the uppermost block, two epochs of small batches."""

import finetune

QUICK = {"unfreeze": "from:conv4", "epochs": 2, "batch_size": 8, "learning_rate": 1e-3}


def tune(store, head, name, **options):
    """Fine-tune a head on a store into a folder beside it, quickly unless `options` say more."""
    return finetune.run(store, head, store.with_name(name), **QUICK | options)
