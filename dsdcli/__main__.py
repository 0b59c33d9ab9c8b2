"""`python -m dsdcli` is the same as `dsd`."""

from dsdcli.cli import main

if __name__ == "__main__":
    main()
