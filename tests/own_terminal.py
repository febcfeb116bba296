"""`dopq-client` as the session leader of its terminal, for `tests/full_screen.py`.

`python -m tests.own_terminal TIME WORDS...`: with a TIME that is not `now` the clock of `top` stands there.
"""

from __future__ import annotations

import fcntl
import sys
import termios
from datetime import datetime

from dopq_client import cli


def main() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    at, words = sys.argv[1], sys.argv[2:]
    if at != "now":
        _stand_still(datetime.fromisoformat(at))
    cli.main(words, prog_name="dopq-client")


def _stand_still(at: datetime) -> None:
    from dopq_client.top import watch
    from dopq_client.top.moment import Moment

    watch.present = lambda trends: Moment(at, 0.0, trends)


if __name__ == "__main__":
    main()
