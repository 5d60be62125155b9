"""Run the service: `python -m cxloop_scoring --role api|worker|all|migrate`."""

from cxloop_common.service import main
from cxloop_scoring.app import SERVICE

if __name__ == "__main__":
    main(SERVICE)
