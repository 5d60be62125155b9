"""`python -m cxloop_ingest --role api|worker|all|migrate`."""

from cxloop_common.service import main
from cxloop_ingest.app import SERVICE

if __name__ == "__main__":
    main(SERVICE)
