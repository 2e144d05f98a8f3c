"""Let `python -m heads` run the command line."""

from heads.cli import main
from heads.late_imports import import_late

if __name__ == "__main__":
    import_late()
    main()
