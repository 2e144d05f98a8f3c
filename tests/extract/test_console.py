"""Words arrive as they were said."""

from extract.console import ProgressReporter, Screen

WORDS = "--unfreeze from:100: 54 of 154 layers train; [bold]is no markup[/bold]"


def test_what_is_said_is_printed_to_the_letter(capsys):
    """A name between colons, such as `:100:`, is no emoji."""
    Screen().say(WORDS)
    Screen(as_json=True).say(WORDS)
    ProgressReporter().note(WORDS)
    out, err = capsys.readouterr()

    assert out.splitlines() == [WORDS]
    assert err.splitlines() == [WORDS] * 2
