"""`python -m notifier`, and the program `notifier`."""

import sys


def main() -> None:
    """Run one command."""
    if sys.argv[1:2] == ["sendmail"]:  # cron and PHP start it for each mail: it loads little
        from notifier import sendmail

        sys.exit(sendmail.main(sys.argv[2:]))
    from notifier import cli

    cli.main()


if __name__ == "__main__":
    main()
