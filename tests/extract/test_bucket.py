"""What buckets say of an object, and what it comes to."""

from extract.bucket import etag_number


def test_an_etag_is_the_same_with_and_without_quotes():
    """Azure lists them without and answers a GET with them: it is one and the same object."""
    quoted = {"e_tag": '"0x8DC3F"', "version": None}

    assert etag_number({**quoted, "e_tag": "0x8DC3F"}) == etag_number(quoted)
    assert etag_number({**quoted, "e_tag": '"0x8DC40"'}) != etag_number(quoted)


def test_what_stores_remember_of_etags_stays_the_same():
    """A number of another release would read every image again."""
    assert etag_number({"e_tag": '"abc"', "version": None}) == 17199846361077092265
    assert etag_number({"e_tag": None, "version": "7"}) == 14908856747895884570
