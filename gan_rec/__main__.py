"""`python -m gan_rec COMMAND`."""

from gan_rec.cli import main

if __name__ == "__main__":
    main()
