"""What the store asks of a disk or a bucket; inherited by one class for each kind of place."""

import threading

import pytest

from extract.store.files import publish, publish_copy

NAME = f"commits/{'a' * 64}.json"


class FilesContract:
    """Inherit this and override `files` with an empty place that has the store's folders."""

    @pytest.fixture
    def files(self):
        raise NotImplementedError

    def test_what_is_published_can_be_read(self, files):
        assert publish(files, NAME, b"facts") is True

        assert files.read(NAME) == bytes(files.view(NAME)) == b"facts"
        assert files.stamp(NAME).size == 5
        assert files.list("commits") == [NAME.partition("/")[2]]

    def test_an_empty_file_is_a_file(self, files):
        assert publish(files, NAME, b"") is True

        assert (files.read(NAME), bytes(files.view(NAME)), files.stamp(NAME).size) == (b"", b"", 0)

    def test_a_name_that_is_taken_keeps_its_bytes(self, files):
        publish(files, NAME, b"first")

        assert publish(files, NAME, b"second") is False
        assert publish(files, NAME, b"first") is False
        assert files.read(NAME) == b"first"

    def test_of_many_who_want_a_name_one_gets_it(self, files):
        """Whoever is told that it was first was, and its bytes are whole."""
        texts = [str(i).encode() * 1000 for i in range(8)]
        first, gate = [], threading.Barrier(len(texts))

        def want(text):
            gate.wait()
            if publish(files, NAME, text):
                first.append(text)

        threads = [threading.Thread(target=want, args=[text]) for text in texts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert first == [files.read(NAME)]

    def test_a_copy_for_people_takes_the_place_of_an_older_one(self, files):
        publish_copy(files, "bad_images.csv", b"one")
        publish_copy(files, "bad_images.csv", b"two")

        assert files.read("bad_images.csv") == b"two"
        assert files.list("tmp") == []

    def test_what_is_not_there_is_said_to_be_missing(self, files):
        for ask in (files.read, files.view, files.stamp):
            with pytest.raises(FileNotFoundError):
                ask("commits/nothing.json")
        with pytest.raises(FileNotFoundError):
            files.read_into("commits/nothing.json", [(0, [memoryview(bytearray(1))])])

    @pytest.mark.parametrize(
        ("offset", "sizes", "expected"),
        [
            (0, [3], b"012"),
            (2, [1, 4], b"23456"),
            (7, [2, 2, 2], b"789"),
            (10, [2], b""),
            (3, [], b""),
        ],
    )
    def test_buffers_are_filled_one_after_the_other(self, files, offset, sizes, expected):
        publish(files, NAME, b"0123456789")
        buffers = [bytearray(size) for size in sizes]
        count = files.read_into(NAME, [(offset, [memoryview(buffer) for buffer in buffers])])

        assert (count, b"".join(buffers)[:count]) == (len(expected), expected)

    def test_several_reads_are_one_call(self, files):
        publish(files, NAME, b"0123456789")
        buffers = [bytearray(2), bytearray(1), bytearray(3)]
        views = [memoryview(buffer) for buffer in buffers]

        assert files.read_into(NAME, [(8, views[:1]), (0, []), (1, views[1:])]) == 6
        assert buffers == [b"89", b"1", b"234"]

    def test_a_folder_lists_its_own_files_only(self, files):
        for name in ("commits/b", "commits/a", "shards/c", "store.json"):
            publish(files, name, b"x")

        assert files.list("commits") == ["a", "b"]
        assert files.list("") == ["store.json"]
        assert files.list("no-such-folder") == []
        assert {"commits", "shards", "store.json"} <= set(files.top())

    def test_a_file_can_have_a_second_name(self, files):
        publish(files, NAME, b"facts")
        files.link_new(NAME, "damaged/x")

        assert files.read("damaged/x") == files.read(NAME) == b"facts"
        with pytest.raises(FileExistsError):
            files.link_new(NAME, "damaged/x")

    def test_a_file_can_be_moved_over_another(self, files):
        publish(files, NAME, b"new")
        publish(files, "damaged/x", b"old")
        files.rename(NAME, "damaged/x")

        assert (files.list("commits"), files.read("damaged/x")) == ([], b"new")

    def test_removing_twice_is_removing(self, files):
        publish(files, NAME, b"facts")
        files.remove(NAME)
        files.remove(NAME)

        assert files.list("commits") == []
        assert publish(files, NAME, b"others") is True

    def test_another_content_has_another_stamp(self, files):
        publish_copy(files, "bad_images.csv", b"one")
        before = files.stamp("bad_images.csv")

        assert files.stamp("bad_images.csv") == before
        publish_copy(files, "bad_images.csv", b"two")
        assert files.stamp("bad_images.csv") != before
