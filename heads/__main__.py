"""Let `python -m heads` run the command line."""

from heads.cli import main

if __name__ == "__main__":
    main()
