"""The one exception that means: the user asked for something that cannot be done."""


class UserError(ValueError):
    """A mistake in what was asked for: its one-line message says what was given and what is allowed.

    The command line prints the message to stderr and ends with exit code 2, without a traceback.
    """
