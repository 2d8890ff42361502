#!/usr/bin/env python
"""Django's command line for One-to-One."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.management import execute_from_command_line
    from django.db import OperationalError, ProgrammingError
    from django.utils.translation import gettext as _

    try:
        execute_from_command_line(sys.argv)
    except (OperationalError, ProgrammingError) as error:
        # No such server, database or table: a wrong setting, or a migration that has not run.
        if "--traceback" in sys.argv:
            raise
        why = str(error).strip().rstrip(".")
        sys.exit(
            _(
                "The database cannot be used: %(why)s. Check that it runs and that DATABASE_URL names it, and run "
                "manage.py migrate; --traceback shows where it happened."
            )
            % {"why": why}
        )


if __name__ == "__main__":
    main()
