"""`python -m cxloop_alerting --role api|worker|all|migrate`."""

from cxloop_alerting.app import SERVICE
from cxloop_common.service import main

if __name__ == "__main__":
    main(SERVICE)
