"""What a run holds in memory has one bound, whatever it holds."""

import pytest

from extract.progress import Silent
from finetune import freezing
from finetune.boundary import find_cut
from finetune.choosing import Choice
from finetune.feeds import Feeds
from finetune.options import Options
from finetune.rows import open_rows

VIEWS = {"augment": "flip", "views": 2}


@pytest.mark.parametrize("extra", [{}, VIEWS], ids=["plain", "views"])
def test_several_cuts_and_pixels_share_the_memory(store, head, network, extra):
    """Three cuts held three times what --cache-memory says."""
    _, train, validation = open_rows(head, store)
    layers = freezing.layers_of(network.built)
    options = Options(cache_memory="100KB", **extra)
    with Feeds(network, options, train, validation, store, None, Silent()) as feeds:
        kept = []
        for unfreeze in ("from:conv4", "from:conv3", "from:conv2"):
            cut = find_cut(network, freezing.make_plan(layers, unfreeze))
            choice = Choice("suffix", "", cut)
            kept.append(feeds.boundary(choice))
            feed = feeds.feed(choice)
            assert len(feed.train(train.codes.argsort(), 1)) == len(train)
        caches = [feeds.pixels(split) for split in ("train", "validation")]

        assert 0 < sum(one.memory_bytes for one in [*kept, *caches]) <= options.cache_bytes
