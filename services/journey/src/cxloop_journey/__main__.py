"""`python -m cxloop_journey --role api|worker|all|migrate`."""

from cxloop_common.service import main
from cxloop_journey.app import SERVICE

if __name__ == "__main__":
    main(SERVICE)
